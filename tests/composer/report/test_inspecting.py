"""An inspection shows what the encoder itself computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import fused, tiny
from support.images import noise_image

from vision_composer import compose, inspect_images
from vision_composer.errors import InputError
from vision_composer.report.states import hidden_states

IMAGE = noise_image(60, 40)


def composed(name: str, **keys: Any) -> Any:
    torch.manual_seed(0)
    return tiny.scramble(compose({"schema": 1, "encoder": tiny.ALL[name], **keys}))


@pytest.mark.parametrize(
    "name", ["clip_vision_model", "llama4_vision_model", "pixtral", "mllama_vision_model"]
)
def test_states_are_those_that_can_be_selected(name: str) -> None:
    encoder = composed(name)
    states = hidden_states(encoder.tower, encoder.vision.read(encoder.preprocess([IMAGE])))
    every = composed(name, select_layers=list(range(len(states))))
    every.model.load_state_dict(encoder.model.state_dict(), strict=False)
    (features,) = every.encode([IMAGE])
    for state, expected in zip(states, features.chunk(len(states), dim=-1), strict=True):
        found = np.concatenate([state.all_patches, state.others])
        # In another order where tokens are not all patches; sums of the tokens' squares are the same.
        assert len(found) == len(expected)
        np.testing.assert_allclose(
            np.sort((found**2).sum(axis=1)), np.sort(expected.square().sum(1).numpy()), rtol=1e-4
        )


def test_patches_that_come_square_by_square_are_put_in_their_places() -> None:
    encoder = composed("qwen2_vl_vision", select_layers=[0])
    (tower,) = inspect_images(encoder, [noise_image(32, 16)]).images[0].towers.values()
    rows, columns = tower.layers[0].maps[0].shape[:2]
    side = encoder.info.patch_size
    # Without positions in hidden state 0, equal patches have equal colours wherever they are.
    checks = np.indices((rows, columns)).sum(axis=0) % 2
    board = np.kron(checks, np.ones((side, side)))[..., None].repeat(3, axis=2)
    picture = (board * 255).astype(np.uint8)
    (tower,) = inspect_images(encoder, [picture]).images[0].towers.values()
    (found,) = tower.layers[0].maps
    assert found.shape[:2] == checks.shape
    one, other = (np.unique(found[checks == value][:, 0]) for value in (0, 1))
    assert len(one) == len(other) == 1
    assert one != other


def test_every_state_of_the_blocks_that_are_built_is_there() -> None:
    encoder = composed("clip_vision_model", select_layers=[-2, 1])
    inspection = inspect_images(encoder, [IMAGE])
    (image,) = inspection.images
    (tower,) = image.towers.values()
    assert [layer.index for layer in tower.layers] == list(range(encoder.plan.num_blocks + 1))
    assert [layer.index for layer in tower.layers if layer.read] == sorted(encoder.plan.select_layers)
    assert tower.similarity.shape == (len(tower.layers),) * 2
    assert image.output.num_rows == encoder.num_tokens(60, 40)


def test_it_is_the_same_each_time() -> None:
    encoder = composed("siglip_vision_model")
    first, second = (inspect_images(encoder, [IMAGE]).images[0].towers[""] for _ in range(2))
    for one, other in zip(first.layers, second.layers, strict=True):
        assert (one.maps[0] == other.maps[0]).all()
        assert one.norms == other.norms


def test_several_towers() -> None:
    (image,) = inspect_images(fused.composed(align={"grid": [4, 4]}), [IMAGE]).images
    assert list(image.towers) == ["dino", "siglip"]
    assert image.towers["siglip"].layers[0].maps[0].shape == (8, 8, 3)
    assert image.output.maps[0].shape == (4, 4, 3)


def test_a_pooled_output_has_no_map() -> None:
    (image,) = inspect_images(composed("siglip_vision_model", head=True), [IMAGE]).images
    assert (image.output.num_rows, image.output.maps) == (1, ())


def test_a_clip() -> None:
    (image,) = inspect_images(composed("qwen2_vl_vision"), [[IMAGE] * 3]).images
    assert image.size.frames == 3
    assert len(image.towers[""].views) == 2


def test_images_that_cannot_be_read_are_named_and_the_others_go_on(tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    encoder = composed("clip_vision_model")
    inspection = inspect_images(encoder, [bad, IMAGE, tmp_path / "none.png"])
    assert [image.name for image in inspection.images] == ["image 1"]
    assert [failure.name for failure in inspection.failures] == [str(bad), str(tmp_path / "none.png")]
    with pytest.raises(InputError, match="no image could be read"):
        inspect_images(encoder, [bad])


def test_features_that_are_not_finite() -> None:
    encoder = composed("clip_vision_model")
    with torch.no_grad():
        encoder.blocks[0].mlp.fc1.weight.fill_(float("inf"))
    with pytest.raises(InputError, match="NaN or infinite"):
        inspect_images(encoder, [IMAGE])


@pytest.mark.parametrize("images", ["photo.jpg", []])
def test_what_is_no_list_of_images(images: Any) -> None:
    with pytest.raises(InputError):
        inspect_images(composed("clip_vision_model"), images)
