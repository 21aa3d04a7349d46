"""Grids that are known from an image's size, against those of preprocessed images."""

from __future__ import annotations

import pytest
from PIL import Image
from support import tiny

from vision_composer import compose, plan
from vision_composer.encoders import family_of
from vision_composer.errors import InputError

ENCODERS = {
    name: encoder
    for name, encoder in tiny.ALL.items()
    if encoder.get("num_channels", 3) == 3 and "/" not in name
}


@pytest.mark.parametrize("name", ENCODERS)
def test_the_grid_of_an_image_is_that_of_its_inputs(name: str) -> None:
    encoder = compose({"schema": 1, "encoder": ENCODERS[name], "select_layers": [0]})
    for size in ((61, 87), (200, 70)):
        inputs = encoder.preprocess([Image.new("RGB", size)])
        assert encoder.image_grids(inputs) == (encoder.info.grid(*size),)


def test_what_is_empty_or_smaller_than_a_patch() -> None:
    any_size = plan({"schema": 1, "encoder": tiny.ENCODERS["dinov2"]})
    for size in ((7, 64), (64, 7)):
        with pytest.raises(InputError, match="smaller than one patch of 8x8"):
            any_size.tokens_of(*size)
    clips = plan({"schema": 1, "encoder": tiny.PACKED["qwen2_vl_vision"]})
    for frames in (0, -2):
        with pytest.raises(InputError, match=f"a clip of {frames} frames is empty"):
            clips.num_tokens(64, 64, frames)


@pytest.mark.parametrize("name", [name for name in tiny.ALL if "/" not in name])
def test_frames_are_counted_where_clips_are_taken(name: str) -> None:
    planned = plan({"schema": 1, "encoder": tiny.ALL[name]})
    family = family_of(planned.encoder)
    if family.preprocessor(planned.encoder, planned.processor).takes_clips:
        assert planned.num_tokens(64, 64, 4) >= planned.num_tokens(64, 64)
    else:
        for count in (planned.num_tokens, planned.info.num_patches):
            with pytest.raises(InputError, match=f"{planned.info.model_type} takes no clips"):
                count(64, 64, 2)


def test_the_count_refuses_what_the_encoder_has_no_positions_for() -> None:
    clips = plan({"schema": 1, "encoder": tiny.PACKED["kimi_k25_vision"]})
    assert clips.num_tokens(16, 16, 4) == clips.num_tokens(16, 16)
    with pytest.raises(InputError, match="the clip has 5 frames, but the encoder has positions for 4 only"):
        clips.num_tokens(16, 16, 5)
    images = plan({"schema": 1, "encoder": tiny.PADDED["gemma4_vision"] | {"position_embedding_size": 40}})
    assert images.num_tokens(64, 64)
    for size in ((16, 128), (128, 16)):
        with pytest.raises(InputError, match="the encoder has positions for 40 rows and columns only"):
            images.num_tokens(*size)
