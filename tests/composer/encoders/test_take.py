"""Some images of a batch, as a batch of their own: for every family what they would give in the whole one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image
from support import tiny
from support.compare import assert_close
from support.kinds import one_of_each_kind

from vision_composer import compose

ALL = {
    name: encoder
    for name, encoder in tiny.ALL.items()
    if encoder.get("num_channels", 3) == 3  # the others take no images
}


def run(encoder: Any, batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    with torch.no_grad():
        return list(encoder(**batch))


def batch_for(encoder: Any) -> dict[str, torch.Tensor]:
    sizes = [(40, 30), (90, 60), (30, 100)] if encoder.info.ragged else [(40, 40)] * 3
    return encoder.preprocess([Image.effect_noise(size, 50).convert("RGB") for size in sizes])


@pytest.mark.parametrize("name", one_of_each_kind(ALL))
def test_some_images(name: str) -> None:
    encoder = tiny.scramble(compose({"schema": 1, "encoder": ALL[name]}))
    batch = batch_for(encoder)
    whole = run(encoder, batch)
    grids = encoder.image_grids(batch)
    assert len(grids) == len(whole) == 3
    for images in ([1], [0, 2]):
        some = encoder.tower.read(batch).take(images)
        assert some.grids == tuple(grids[i] for i in images)
        with torch.no_grad():
            assert_close(list(encoder.tower(some)), [whole[i] for i in images])
    assert encoder.tower.rows_per_image(grids) == [len(part) for part in whole]


@pytest.mark.parametrize("name", [name for name in ALL if name.startswith(("idefics", "smolvlm", "mllama"))])
def test_images_that_fill_up_samples_do_not_count(name: str) -> None:
    encoder = compose({"schema": 1, "encoder": ALL[name]})
    alone = batch_for(encoder)
    # Two samples of two images, the second of the first and the first of the second only padding.
    batch = {}
    for key, value in alone.items():
        images = value.flatten(0, 1) if value.shape[0] * value.shape[1] == 3 else value
        filled = torch.zeros(4, *images.shape[1:], dtype=images.dtype)
        filled[[0, 1, 3]] = images
        batch[key] = filled.unflatten(0, (2, 2))
    whole = run(encoder, batch)
    assert len(whole) == 3
    assert_close(whole, run(encoder, alone))
    for i, part in enumerate(whole):
        with torch.no_grad():
            assert_close(list(encoder.tower(encoder.tower.read(batch).take([i]))), [part])
