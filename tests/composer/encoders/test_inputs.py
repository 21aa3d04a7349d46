"""Checks that families of native resolution share."""

from __future__ import annotations

import pytest
import torch

from vision_composer.encoders.inputs import check_mask


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.int64], ids=str)
def test_whatever_is_not_zero_is_marked(dtype: torch.dtype) -> None:
    mask = torch.tensor([[0, 1, 255]]).to(dtype)
    assert check_mask("mask", mask, (1, 3)).tolist() == [[False, True, True]]
