"""Tests of pixels with what numba has compiled, and without."""

from __future__ import annotations

import sys

import pytest

from vision_composer.images import compiled, resampling

WAYS = ["Pillow", "numba"]


def choose(way: str, patch: pytest.MonkeyPatch) -> None:
    """Have all images resized in one of the ``WAYS``, however small and few they are."""
    patch.setattr(resampling, "_SMALL", 1)
    patch.setattr(compiled, "_WORTHWHILE", 0 if way == "numba" else sys.maxsize)
