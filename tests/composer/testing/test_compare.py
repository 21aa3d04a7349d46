"""The tolerance of check_encoder: rounding passes, anything more is said with its size."""

from __future__ import annotations

import re

import pytest
import torch

from vision_composer.errors import ConformanceError
from vision_composer.testing.compare import check_equal

EPS = torch.finfo(torch.float32).eps
WANT = torch.tensor([[0.25, -4.0], [1.0, 0.0]])


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_rounding_is_relative_to_the_largest_value(scale: float) -> None:
    want = WANT * scale
    for ulps, passes in ((0, True), (50, True), (200, False), (-200, False)):
        got = want.clone()
        got[1, 1] = ulps * EPS * 4.0 * scale  # at the smallest value, on the scale of the largest
        if passes:
            check_equal([got], [want], "it")
        else:
            with pytest.raises(ConformanceError, match=r"^it: differs by up to .*, and the largest value is"):
                check_equal([got], [want], "it")


def test_the_dtype_of_what_is_wanted_counts() -> None:
    got = WANT.double() * (1 + 50 * EPS)
    check_equal([got], [WANT], "it")
    with pytest.raises(ConformanceError, match="differs by up to"):
        check_equal([got], [WANT.double()], "it")


@pytest.mark.parametrize(
    ("got", "message"),
    [
        ([], "it: 0 images come out, not 1"),
        ([WANT, WANT], "it: 2 images come out, not 1"),
        ([WANT[:1]], "it has shape (1, 2), not (2, 2)"),
        ([WANT.log()], "it: 2 values are not finite"),
        ([torch.full((2, 2), torch.nan)], "it: 4 values are not finite"),
    ],
)
def test_what_cannot_be_compared(got: list[torch.Tensor], message: str) -> None:
    with pytest.raises(ConformanceError, match=f"^{re.escape(message)}$"):
        check_equal(got, [WANT], "it")


def test_nothing_equals_nothing_and_zero_only_zero() -> None:
    check_equal([torch.empty(0, 8)], [torch.empty(0, 8)], "it")
    check_equal([torch.zeros(2)], [torch.zeros(2)], "it")
    with pytest.raises(ConformanceError, match="the largest value is 0"):
        check_equal([torch.full((2,), 1e-30)], [torch.zeros(2)], "it")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_reference_that_is_not_finite_is_no_agreement(value: float) -> None:
    want = WANT.clone()
    want[0, 1] = value
    for got in (WANT, WANT * 1000):
        with pytest.raises(ConformanceError, match=r"^it: 1 of the expected values are not finite$"):
            check_equal([got], [want], "it")
