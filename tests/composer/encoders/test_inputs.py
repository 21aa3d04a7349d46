"""Checks that families share."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image
from support import tiny

from vision_composer import compose
from vision_composer.encoders.inputs import check_mask, whole_numbers
from vision_composer.errors import InputError

ENCODERS = {name: encoder for name, encoder in tiny.ALL.items() if "/" not in name}


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.int64], ids=str)
def test_whatever_is_not_zero_is_marked(dtype: torch.dtype) -> None:
    mask = torch.tensor([[0, 1, 255]]).to(dtype)
    assert check_mask("mask", mask, (1, 3)).tolist() == [[False, True, True]]


@pytest.mark.parametrize("name", ENCODERS)
def test_what_is_none_counts_as_not_given(name: str) -> None:
    encoder = compose({"schema": 1, "encoder": ENCODERS[name], "select_layers": [0]})
    inputs = encoder.preprocess([Image.new("RGB", (64, 64))])
    got = encoder(**inputs, bool_masked_pos=None)
    assert all(torch.equal(one, other) for one, other in zip(got, encoder(**inputs), strict=True))
    with pytest.raises(InputError, match="unexpected input bool_masked_pos: a"):
        encoder(**inputs, bool_masked_pos=True)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "numbers must be a tensor, not list"),
        (torch.tensor([1.0, 2.0]), "numbers is torch.float32; it must be integers"),
        (torch.tensor([1, 2, 3]), r"numbers must be \(2,\) to fit pixel_values, not \(3,\)"),
        (torch.tensor([1, 4]), "numbers must be whole numbers from 0 to 3"),
        (torch.tensor([-1, 3]), "numbers must be whole numbers from 0 to 3"),
    ],
)
def test_numbers_out_of_bounds_are_refused(value: Any, message: str) -> None:
    assert whole_numbers("numbers", torch.tensor([0, 3]).int(), (2,), 3).dtype is torch.int64
    with pytest.raises(InputError, match=message):
        whole_numbers("numbers", value, (2,), 3)
