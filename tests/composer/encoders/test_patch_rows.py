"""Grids of rows of patches that cannot be."""

from __future__ import annotations

import pytest
import torch
from support import tiny

from vision_composer import compose
from vision_composer.errors import InputError


def test_rows_and_columns_are_merged_whole() -> None:
    encoder = compose({"schema": 1, "encoder": tiny.PACKED["qwen2_vl_vision"], "select_layers": [0]})
    for grid in ([1, 3, 2], [1, 2, 3]):
        with pytest.raises(InputError, match="rows and columns must be multiples of 2"):
            encoder(pixel_values=torch.zeros(6, 96), image_grid_thw=torch.tensor([grid]))
