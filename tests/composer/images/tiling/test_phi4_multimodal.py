"""Phi-4-multimodal's image processor without torchvision beside the functions of transformers' source."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.processors import ragged, settings
from support.sources import methods_of
from support.whole_images import noise
from torch.nn.functional import interpolate, pad

from vision_composer.errors import InputError, WeightsError
from vision_composer.images.preprocess_tiles import TiledPreprocessor
from vision_composer.images.tiling import tiling_of
from vision_composer.images.tiling.phi4_multimodal import shown_size, valid_patches
from vision_composer.schemas.tiling.phi4_multimodal import Phi4MultimodalTilingConfig

SIDE, PATCH, MOST = 40, 8, 7
CONFIG = Phi4MultimodalTilingConfig(type="phi4_multimodal", dynamic_hd=MOST)


def _resize(image: torch.Tensor, size: list[int]) -> torch.Tensor:
    return interpolate(image[None], size, mode="bilinear", antialias=True)[0]


def _pad(image: torch.Tensor, padding: list[int], fill: list[int]) -> torch.Tensor:
    left, top, right, bottom = padding
    return pad(image, (left, right, top, bottom), value=fill[0])


THEIRS = methods_of(
    *("phi4_multimodal", "dynamic_preprocess", "find_closest_aspect_ratio"),
    torch=torch,
    tvF=SimpleNamespace(resize=_resize, pad=_pad),
)


def theirs(image: torch.Tensor) -> Any:
    return THEIRS.dynamic_preprocess(image, SIDE, PATCH, SIDE // PATCH, max_num=MOST)


def test_canvases_and_masks_are_those_of_transformers() -> None:
    sizes, ours = random.Random(0), tiling_of(CONFIG, SIDE)
    refused = 0
    for _ in range(500):
        width, height = sizes.randint(1, 400), sizes.randint(1, 400)
        try:
            canvas, mask = theirs(torch.zeros(3, height, width, dtype=torch.uint8))
        except ValueError:
            refused += 1
            with pytest.raises(InputError, match="takes no side below 10"):
                ours.plan(width, height)
            continue
        plan = ours.plan(width, height)
        assert plan.canvas[::-1] == canvas.shape[1:], (width, height)
        shown = int((canvas[0, :, 0] == 0).sum()), int((canvas[0, 0] == 0).sum())
        assert shown_size(plan)[::-1] == shown, (width, height)
        valid = int(mask[:, 0].sum()), int(mask[0].sum())
        assert valid_patches(plan, PATCH) == valid, (width, height)
    assert 0 < refused < 250


@pytest.mark.parametrize("size", [(64, 64), (37, 211), (150, 40), (31, 20)], ids=str)
def test_tiles_are_those_of_transformers(size: tuple[int, int]) -> None:
    image = noise(*size)
    made = settings("Phi4MultimodalImageProcessor", size={"height": SIDE, "width": SIDE}, patch_size=PATCH)
    ours = TiledPreprocessor(ragged(made), tiling_of(CONFIG, SIDE), made)([image])
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(*size[::-1], 3)
    canvas, mask = theirs(pixels.permute(2, 0, 1).contiguous())
    normed = (canvas / 255 - 0.5) / 0.5
    whole = interpolate(normed[None], (SIDE, SIDE), mode="bicubic")
    across = normed.unfold(1, SIDE, SIDE).unfold(2, SIDE, SIDE).permute(1, 2, 0, 3, 4).flatten(0, 1)
    assert (ours["pixel_values"] - torch.cat((whole, across))).abs().max() < 1e-5
    grid = SIDE // PATCH
    masks = mask.unfold(0, grid, grid).unfold(1, grid, grid).flatten(0, 1)
    assert ours["patch_attention_mask"][1:].equal(masks.bool())
    assert ours["patch_attention_mask"][0].all()
    assert ours["image_sizes"].tolist() == [[*size[::-1]]]


def test_the_image_whole_is_the_first_of_its_tiles() -> None:
    image = noise(150, 40)
    made = settings("Phi4MultimodalImageProcessor", size={"height": SIDE, "width": SIDE}, patch_size=PATCH)
    whole = ragged(made)
    tiles = TiledPreprocessor(whole, tiling_of(CONFIG, SIDE), made)([image])["pixel_values"]
    assert whole([image])["pixel_values"].equal(tiles[:1])


def test_filters_that_torch_has_only_with_smoothing_are_refused() -> None:
    with pytest.raises(WeightsError, match="resample is 1; this image processor takes 2 and 3"):
        ragged(settings("Phi4MultimodalImageProcessor", resample=1))
