"""What a tower sees, read out of the pixels of its batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import tiny
from support.images import noise_image
from support.kinds import KINDS

from vision_composer import compose
from vision_composer.encoders.batch import Batch
from vision_composer.report.pixels import PixelReader

NAMES = sorted(
    {
        *KINDS.values(),
        "radio/grey",
        "molmo2_vision",
        "muse_glimmer_vision",
        "inkling2_vision",
        "qwen2_vl_vision",
    }
    - {"idefics3_vision"}  # whose images are resized twice whatever their size
)
"""One of each kind of encoder, and other kinds of pixels."""


def reader_of(encoder: Any) -> tuple[PixelReader, Any]:
    def prepare(image: Any) -> Batch:
        batch: Batch = encoder.vision.read(encoder.preprocess([image]))
        return batch

    return PixelReader.of(encoder.info, prepare), prepare


@pytest.mark.parametrize("name", NAMES)
def test_an_image_that_needs_no_resizing_is_seen_as_it_is(name: str) -> None:
    encoder: Any = compose({"schema": 1, "encoder": tiny.ALL[name]})
    reader, prepare = reader_of(encoder)
    size = encoder.info.resized(64, 48)
    image = noise_image(*encoder.info.resized(*size))
    batch = prepare(image)
    planes = reader.planes(batch)
    frames, rows, columns = batch.grids[0]
    side = encoder.info.patch_size
    expected = np.asarray(image.convert("L").convert("RGB") if reader.black.shape == (1,) else image)
    if frames > 1:  # tiles, row by row
        across = image.width // encoder.info.image_size
        lines = [np.concatenate(planes[i : i + across], axis=1) for i in range(0, frames, across)]
        seen = np.concatenate(lines)
    else:
        seen = planes[0]
        expected = expected[: rows * side, : columns * side]
    # Molmo 2 and Phi-4 resize by torch, and others in bfloat16.
    assert np.abs(seen.astype(int) - expected).max() <= 2


def test_of_frames_that_share_a_patch_the_first_is_seen() -> None:
    encoder: Any = compose({"schema": 1, "encoder": tiny.ALL["qwen2_vl_vision"]})
    reader, _ = reader_of(encoder)
    size = encoder.info.resized(64, 48)
    frames = [noise_image(*size), noise_image(*size[::-1]).resize(size), noise_image(*size).rotate(180)]
    planes = reader.planes(encoder.vision.read(encoder.preprocess([frames])))
    assert len(planes) == 2
    for plane, frame in zip(planes, (frames[0], frames[2]), strict=True):
        assert np.abs(plane.astype(int) - np.asarray(frame)).max() <= 1
