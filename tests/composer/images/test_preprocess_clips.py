"""Clips to rows of patches: every frame as an image of it, those of a patch side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import packed, tiny
from support.compare import assert_close

from vision_composer import compose
from vision_composer.encoder import ComposedVisionEncoder
from vision_composer.encoders import FAMILIES
from vision_composer.errors import ImageError, InputError
from vision_composer.images import preprocess_clips

TAKING = [name for name in tiny.PACKED if packed.has_frames(name)]
SIZE = (90, 61)


def encoder_of(name: str, **fields: Any) -> ComposedVisionEncoder:
    return compose({"schema": 1, "encoder": tiny.PACKED[name] | fields, "select_layers": [-1]})


def noise(width: int, height: int, seed: int = 9) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def frames_of(count: int, size: tuple[int, int] = SIZE) -> list[Image.Image]:
    return [noise(*size, seed=seed) for seed in range(count)]


def videos_of(encoder: ComposedVisionEncoder, inputs: dict[str, torch.Tensor]) -> np.ndarray[Any, Any]:
    """The pixels (frames, channels, height, width) of a clip, put together from its rows of patches."""
    info, family = encoder.info, FAMILIES[encoder.info.model_type]
    times, rows, columns = inputs["image_grid_thw"][0].tolist()
    side, merge = info.patch_size, info.grid_multiple if info.patch_square > 1 else 1
    pixels = inputs["pixel_values"].numpy().reshape(times, -1, *inputs["pixel_values"].shape[1:])
    cut = (times, rows // merge, columns // merge, merge, merge)
    if family.model_type == "muse_glimmer_vision":  # patches have their frames first
        whole = pixels.reshape(*cut, info.temporal_patch_size, 3, side, side).transpose(
            0, 5, 6, 1, 3, 7, 2, 4, 8
        )
    elif family.model_type == "cosmos3_edge_vision":  # the channels of a pixel stand together
        whole = pixels.reshape(*cut, side, side, 3, info.temporal_patch_size).transpose(
            0, 8, 7, 1, 3, 5, 2, 4, 6
        )
    else:
        whole = pixels.reshape(*cut, 3, info.temporal_patch_size, side, side).transpose(
            0, 6, 5, 1, 3, 7, 2, 4, 8
        )
    return whole.reshape(times * info.temporal_patch_size, 3, rows * side, columns * side)


@pytest.mark.parametrize(
    "name", ["qwen2_5_vl_vision", "glm4v_vision", "cosmos3_edge_vision", "muse_glimmer_vision"]
)
def test_frames_are_where_the_tower_looks_for_them(name: str) -> None:
    encoder = encoder_of(name, **({"patch_temporal": 2} if name.startswith("muse") else {}))
    frames = frames_of(5)
    size = encoder.info.resized(*SIZE)
    made: Any = encoder.preprocessor.processor
    mean, std = (np.array(value)[:, None, None] for value in (made.image_mean, made.image_std))
    resized = [np.asarray(frame.resize(size, Image.Resampling(made.resample))) for frame in frames]
    want = [(pixels.transpose(2, 0, 1) / 255 - mean) / std for pixels in resized]
    want += [want[-1]] * (-len(want) % encoder.info.temporal_patch_size)
    found = videos_of(encoder, encoder.preprocess([frames]))
    np.testing.assert_allclose(found, np.stack(want), atol=1e-6)


@pytest.mark.parametrize("name", TAKING)
def test_a_clip_that_stands_still(name: str) -> None:
    encoder = encoder_of(name)
    image = noise(*SIZE)
    still = encoder.preprocess([[image] * encoder.info.temporal_patch_size])
    alone = encoder.preprocess([image])
    assert still["pixel_values"].equal(alone["pixel_values"])
    assert still["image_grid_thw"].equal(alone["image_grid_thw"])


@pytest.mark.parametrize("name", TAKING)
def test_tokens_are_those_that_the_plan_counts(name: str) -> None:
    encoder = encoder_of(name)
    for count in (1, 3, 4):
        (features,) = encoder.encode([tuple(frames_of(count))])
        assert len(features) == encoder.num_tokens(*SIZE, count)


def test_clips_and_images_share_a_batch() -> None:
    encoder = encoder_of("qwen2_5_vl_vision")
    mixed = [frames_of(3), noise(40, 70), frames_of(2, (50, 50))]
    together = encoder.encode(mixed)
    assert_close(together, [encoder.encode([image])[0] for image in mixed])
    assert not torch.equal(together[0], encoder.encode([frames_of(3)[::-1]])[0])
    assert encoder.preprocess(mixed)["image_grid_thw"][:, 0].tolist() == [2, 1, 1]


def test_frames_are_taken_one_by_one() -> None:
    encoder = encoder_of("kimi_k25_vision")
    alive: list[int] = []

    def frames() -> Iterator[Image.Image]:
        for i in range(3):
            alive.append(i)
            yield noise(*SIZE, seed=i)
            assert alive == list(range(i + 1))

    read = encoder.preprocessor.read([frames()])
    again = encoder.preprocessor.read([frames_of(3)])
    np.testing.assert_array_equal(read[0]["pixel_values"], again[0]["pixel_values"])


def test_clips_that_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoder_of("kimi_k25_vision")
    with pytest.raises(ImageError, match="image 1: a clip without frames"):
        encoder.preprocess([noise(*SIZE), []])
    with pytest.raises(ImageError, match="its frames are of different sizes"):
        encoder.preprocess([[noise(*SIZE), noise(20, 90)]])
    with pytest.raises(ImageError, match=r"nowhere\.png: no such file"):
        encoder.preprocess([[noise(*SIZE), "nowhere.png"]])
    with pytest.raises(InputError, match="has 5 frames, but the encoder has positions for 4 only"):
        encoder.encode([frames_of(5)])
    monkeypatch.setattr(preprocess_clips, "MAX_PIXELS", 3 * 90 * 61)
    with pytest.raises(ImageError, match="more than 16,470 pixels together, the limit; take fewer"):
        encoder.preprocess([frames_of(4)])


@pytest.mark.parametrize("name", ["clip_vision_model", "siglip2_vision_model", "video_llama_3_vision"])
def test_encoders_of_images_only(name: str) -> None:
    encoder = compose({"schema": 1, "encoder": tiny.ALL[name], "select_layers": [-1]})
    assert not encoder.preprocessor.takes_clips
    with pytest.raises(InputError, match="this encoder takes no clips"):
        encoder.encode([frames_of(2)])


def test_patches_that_are_repeated_in_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoder_of("qwen2_vl_vision")
    rows = np.random.default_rng(0).random((6, 96))
    monkeypatch.setattr(preprocess_clips, "process_ragged", lambda *_: {"pixel_values": rows})
    with pytest.raises(InputError, match="repeats patches in a way that is not known"):
        encoder.preprocessor.finish(
            [{"pixel_values": torch.zeros(8, 96), "image_grid_thw": torch.tensor([[1, 2, 2]])}]
        )
