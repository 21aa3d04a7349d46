"""Laws of resize rules that no processor needs to be asked about, and their bounds."""

from __future__ import annotations

import pytest
from transformers.models.glm4v.image_processing_pil_glm4v import smart_resize as glm_resize
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from vision_composer.errors import InputError
from vision_composer.images.resize import (
    EdgeBounds,
    EnlargingPixelBudget,
    LongestEdge,
    PaddedPatchBudget,
    PixelBudget,
    ResizeRule,
    TileCanvas,
    TokenBudget,
)


@pytest.mark.parametrize(
    ("rule", "step"),
    [
        (PixelBudget(28, 3136, 1_003_520), 28),
        (EnlargingPixelBudget(28, 12_544, 11_760_000, frames=2), 28),
        (PaddedPatchBudget(14, 2, 16_384, 512), 28),
        (PaddedPatchBudget(14, 2, 16_384, 40), 28),
        (LongestEdge(1024, 1024, 16, 16), 16),
        (LongestEdge(1024, 512, 16, 16), 16),
        (EdgeBounds(378, 980, 14), 14),
        (TokenBudget(48, 280), 48),
        (TileCanvas(448, 4), 448),
    ],
    ids=str,
)
def test_the_largest_side_is_that_of_the_largest_square_that_is_kept(rule: ResizeRule, step: int) -> None:
    side = rule.largest_side
    assert rule(side, side) == (side, side)
    assert rule(side + step, side + step) != (side + step, side + step)


def test_an_area_at_a_bound_is_kept() -> None:
    for width, height, least, most in ((69, 15, 1, 1568), (69, 15, 1568, 9999)):
        rows, columns = smart_resize(height, width, 28, least, most)
        assert PixelBudget(28, least, most)(width, height) == (columns, rows) == (56, 28)


def test_images_with_a_side_below_a_merged_patch_are_enlarged_as_by_glm4v() -> None:
    rule = EnlargingPixelBudget(28, 784, 1_000_000, frames=2)
    for height in range(1, 28):
        for width in range(height, 120):
            rows, columns = glm_resize(2, height, width, 2, 28, 784, 1_000_000)
            assert rule(width, height) == (columns, rows), (width, height)


def test_the_thinnest_image_that_is_taken() -> None:
    for width, height in ((200, 1), (1, 200), (4000, 20)):
        rows, columns = smart_resize(height, width, 28, 3136, 1_003_520)
        assert PixelBudget(28, 3136, 1_003_520)(width, height) == (columns, rows)
    with pytest.raises(InputError, match="too thin"):
        PixelBudget(28, 3136, 1_003_520)(201, 1)
