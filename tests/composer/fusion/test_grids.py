"""Which grids and widths of several towers fit, and what comes of them; worked out by hand."""

from __future__ import annotations

from math import prod
from typing import Any, Literal

import pytest

from vision_composer import plan
from vision_composer.encoders.facts import Grid
from vision_composer.fusion.grids import FusedTower, Fusion, MisfitError

INFO = plan("tiny-digits").info


def tower(name: str, width: int, *, more: int = 0) -> FusedTower:
    """A tower with a token for every patch, and some more in front."""
    return FusedTower(name, INFO, lambda grid: prod(grid) + more, width)


def fusion(
    fuse: Literal["channel", "sequence", "sum"], *towers: FusedTower, grid: Any = None, **keys: Any
) -> Fusion:
    return Fusion(towers, fuse, grid, keys.get("resample", "bilinear"), False)


SMALL: Grid = (1, 2, 3)
LARGE: Grid = (1, 4, 6)


def test_widths() -> None:
    a, b = tower("a", 8), tower("b", 24)
    assert fusion("channel", a, b).width == 32
    fusion("channel", a, b).check_widths()
    for fuse in ("sequence", "sum"):
        with pytest.raises(MisfitError, match="tower b: gives 24 features per token, and a 8") as raised:
            fusion(fuse, a, b).check_widths()
        assert raised.value.tower == "b"
        same = fusion(fuse, a, FusedTower("b", INFO, prod, 24, projected=8))
        same.check_widths()
        assert same.width == 8


def test_grids_of_channels_are_equal_or_resampled() -> None:
    a, b = tower("a", 8), tower("b", 8)
    assert fusion("channel", a, b).grid_of([LARGE, LARGE]) == LARGE
    with pytest.raises(MisfitError, match="tower b: its tokens form a grid of 2x3, and those of a a grid"):
        fusion("channel", a, b).grid_of([LARGE, SMALL])
    assert fusion("sum", a, b, grid=(5, 7)).grid_of([LARGE, SMALL]) == (1, 5, 7)


def test_a_sequence_is_as_long_as_its_towers() -> None:
    a, b = tower("a", 8), tower("b", 8)
    assert fusion("sequence", a, b).grid_of([SMALL, SMALL]) == (2, 2, 3)
    assert fusion("sequence", a, b).grid_of([SMALL, LARGE]) == (1, 1, 6 + 24)
    assert fusion("sequence", a, b, grid=(3, 3)).num_tokens([SMALL, LARGE]) == 18
    assert fusion("sequence", a, b, grid=(3, 3)).num_tokens_of(a, SMALL) == 9
    assert fusion("sequence", a, b).num_tokens_of(a, SMALL) == 6
    # Tokens that form no grid can stand in a sequence, and nowhere else.
    odd = tower("odd", 8, more=1)
    assert fusion("sequence", a, odd).num_tokens([SMALL, SMALL]) == 6 + 7
    for misfit in (fusion("channel", a, odd), fusion("sequence", a, odd, grid=(3, 3))):
        with pytest.raises(MisfitError, match="tower odd: gives 7 tokens for 2x3 patches"):
            misfit.num_tokens([SMALL, SMALL])
