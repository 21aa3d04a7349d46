"""Pooled hidden states are those that the encoder selects, whatever the family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny
from support.images import noise_image

from vision_composer import compose
from vision_composer.errors import ImageError, InputError
from vision_composer.probe.states import pooled_states

IMAGES = [noise_image(*size) for size in ((32, 32), (64, 48), (40, 72))]
FAST = ["clip_vision_model", "qwen2_5_vl_vision", "mllama_vision_model"]
OF_COLOURS = [name for name, encoder in tiny.ALL.items() if encoder.get("num_channels", 3) == 3]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in OF_COLOURS]
)
def test_each_is_the_mean_of_the_tokens_that_are_selected(name: str) -> None:
    torch.manual_seed(0)
    whole: Any = tiny.scramble(compose({"schema": 1, "encoder": tiny.ALL[name], "select_layers": [-1]}))
    depth = whole.info.num_hidden_layers
    with whole.evaluating():
        found = list(pooled_states(whole, IMAGES, batch_size=2))
    classed = whole.config.encoder.has_class_token and not whole.info.tiled
    for pooling, strategy in {"mean": "default", **({"class": "class"} if classed else {})}.items():
        for layer in {0, 1, depth}:
            keys = {"select_layers": [layer], "feature_select_strategy": strategy}
            one: Any = compose({"schema": 1, "encoder": tiny.ALL[name], **keys})
            one.load_state_dict({key: whole.state_dict()[key] for key in one.state_dict()})
            expected = [tokens.mean(0) for tokens in one.encode(IMAGES, batch_size=2)]
            for ours, theirs in zip(found, expected, strict=True):
                assert not isinstance(ours, ImageError)
                scale = float(theirs.abs().max())
                torch.testing.assert_close(ours[layer, pooling], theirs, rtol=0, atol=1e-5 * scale)
    assert all(len(each) == (depth + 1) * (1 + classed) for each in found if isinstance(each, dict))


def test_half_precision_is_pooled_in_float32() -> None:
    encoder: Any = compose("tiny-digits", overrides=["weights.dtype=bfloat16"])
    with encoder.evaluating():
        (found,) = pooled_states(encoder, IMAGES[:1], batch_size=1)
    assert isinstance(found, dict)
    assert {each.dtype for each in found.values()} == {torch.float32}


def test_an_image_that_fails_is_an_error_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    encoder: Any = compose("tiny-digits")
    images = [str(tmp_path / "broken.png"), IMAGES[0], str(tmp_path / "gone.png"), IMAGES[1]]
    with encoder.evaluating():
        found = list(pooled_states(encoder, images, batch_size=2))
        alone = list(pooled_states(encoder, [IMAGES[1]], batch_size=2))
    assert [isinstance(each, ImageError) for each in found] == [True, False, True, False]
    assert isinstance(found[3], dict)
    assert isinstance(alone[0], dict)
    assert torch.equal(found[3][2, "mean"], alone[0][2, "mean"])


def test_features_that_are_not_finite_are_an_error() -> None:
    encoder: Any = compose("tiny-digits")
    with torch.no_grad():
        encoder.blocks[1].mlp.fc2.bias[0] = torch.inf
    with encoder.evaluating():
        (found,) = pooled_states(encoder, IMAGES[:1], batch_size=1)
    assert isinstance(found, ImageError)
    assert found.name == "image 0"


def test_tiles_are_refused() -> None:
    keys = {"tiling": {"type": "llava_next"}, "output": "tiles"}
    encoder: Any = compose({"schema": 1, "encoder": tiny.ENCODERS["clip_vision_model"], **keys})
    with pytest.raises(InputError, match="compose the encoder with output=features"):
        next(pooled_states(encoder, IMAGES, batch_size=2))
