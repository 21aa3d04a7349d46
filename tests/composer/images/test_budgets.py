"""Resize rules of a number of tokens beside transformers' own functions."""

from __future__ import annotations

import pytest
from support.sources import function_of
from transformers.models.glm5_next.image_processing_pil_glm5_next import smart_resize as glm5_resize

from vision_composer.images.budgets import AlignedBudget, NearestRatio
from vision_composer.images.resize import ResizeRule


@pytest.mark.parametrize("rule", [AlignedBudget(28, 16, 64), NearestRatio(28, 64)], ids=str)
def test_the_largest_side_is_that_of_the_largest_square_that_is_kept(rule: ResizeRule) -> None:
    side = rule.largest_side
    assert rule(side, side) == (side, side)
    assert rule(side + 28, side + 28) != (side + 28, side + 28)


def test_sizes_for_glm5() -> None:
    rule = AlignedBudget(28, 16, 60)
    for height in range(1, 600, 13):
        for width in range(1, 600, 17):
            rows, columns = glm5_resize(2, height, width, 2, 28, 16, 60)
            assert rule(width, height) == (columns, rows), (width, height)


def test_sizes_for_muse_glimmer() -> None:
    theirs = function_of("muse_glimmer", "smart_resize")
    rule = NearestRatio(28, 60)
    for height in range(1, 600, 13):
        for width in range(1, 600, 17):
            rows, columns = theirs(height, width, 28, 60)
            assert rule(width, height) == (columns, rows), (width, height)
