"""Comparisons of features that hold on every CPU: bounds that grow with the features and their dtype."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

ULPS = 32
"""How many units in the last place of the largest feature two ways through a tiny encoder may differ by.

Kernels of another instruction set, batch size or order add up in another order. The rounding errors of a sum
of n terms grow like the square root of n. The products of a tiny encoder have 30 to 200 terms, each about
ten roundings of half a unit, and what four blocks add to the residual stream makes some ten units more if the
errors fell on the largest feature. The largest difference of any parity test is 9 units, with AVX2 as with
AVX-512. In float32 the bound is 4e-6 of the largest feature. Features exceed it when the weights of any norm
are left out, and when a single weight is off by 0.001, in nine of ten matrices.
"""

HALF_ULPS = 4
"""The same in half precision, where sums are kept in float32 and only what modules hand on is rounded."""

OP_ULPS = 16
"""The same for a single operation, such as one attention over some tens of tokens."""


def assert_close(got: Any, want: Any, *, ulps: float | None = None) -> None:
    """Assert that features differ by rounding only.

    Args:
        got: A tensor, an array, or a sequence of either.
        want: What it should be, in the same dtypes and shapes.
        ulps: How many units in the last place of the largest feature in ``want`` they may differ by; None for
            what a tower may, by its dtype.
    """
    ours, theirs = _tensors(got), _tensors(want)
    _assert_alike(ours, theirs)
    if not theirs:
        return
    scale = _scale(theirs)
    for i, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        allowed = ulps or (HALF_ULPS if other.dtype.itemsize == 2 else ULPS)
        bound = allowed * _eps(other) * scale
        error = _distance(mine, other)
        where = f" (tensor {i} of {len(theirs)})" if len(theirs) > 1 else ""
        assert error <= bound, (
            f"features differ by {error:.3g}, and rounding explains {bound:.3g} where the largest is "
            f"{scale:.3g}{where}"
        )


def assert_as_exact(got: Any, want: Any, truth: Any, *, ulps: float = 4) -> None:
    """Assert that features are as near to the float64 result as transformers' own.

    The error may be twice transformers' own, because both are draws of the same rounding errors, and some
    units in the last place more, because transformers' own can be next to none by chance.

    Args:
        got: Our features: a tensor, or a sequence of them.
        want: transformers' features in the same dtype.
        truth: What transformers' module computes in float64.
        ulps: How many units in the last place of the largest feature the error may be beyond twice theirs.
    """
    ours, theirs, exact = _tensors(got), _tensors(want), _tensors(truth)
    _assert_alike(ours, theirs)
    _assert_alike([tensor.to(torch.float64) for tensor in theirs], exact)
    if not exact:
        return
    error = _largest_distance(ours, exact)
    own = _largest_distance(theirs, exact)
    bound = 2 * own + ulps * _eps(theirs[0]) * _scale(exact)
    assert error <= bound, (
        f"features are off by {error:.3g}; transformers' own are off by {own:.3g}, which allows {bound:.3g}"
    )


def assert_gradients_close(
    got: Mapping[str, Any] | Sequence[Any],
    want: Mapping[str, Any] | Sequence[Any],
    *,
    ulps: float = ULPS,
) -> None:
    """Assert that gradients of several tensors differ by rounding only, each on its own scale.

    A gradient that is zero by algebra, such as that of a key's bias, is computed as the rounding of what
    cancels; so each may also differ by a tenth of what the largest may.
    """
    names: list[Any] = list(want) if isinstance(want, Mapping) else list(range(len(want)))
    if isinstance(got, Mapping):
        assert got.keys() == set(names)
    assert len(got) == len(want)
    ours, theirs = [got[name] for name in names], [want[name] for name in names]
    assert not any(gradient is None for gradient in (*ours, *theirs)), "a tensor got no gradient"
    _assert_alike(ours, theirs)
    largest = _scale(theirs)
    for name, mine, other in zip(names, ours, theirs, strict=True):
        bound = ulps * _eps(other) * (_scale([other]) + largest / 10)
        error = _distance(mine, other)
        assert error <= bound, f"gradient {name} differs by {error:.3g}, and rounding explains {bound:.3g}"


def _tensors(values: Any) -> list[Tensor]:
    if isinstance(values, (Tensor, np.ndarray)):
        values = [values]
    return [torch.as_tensor(value).detach() for value in values]


def _assert_alike(got: Sequence[Tensor], want: Sequence[Tensor]) -> None:
    assert len(got) == len(want)
    assert [tensor.shape for tensor in got] == [tensor.shape for tensor in want]
    assert [tensor.dtype for tensor in got] == [tensor.dtype for tensor in want]
    assert all(bool(tensor.isfinite().all()) for tensor in want), "what to compare with is not finite"


def _scale(tensors: Sequence[Tensor]) -> float:
    """The largest absolute value."""
    return max((float(tensor.abs().max()) for tensor in tensors if tensor.numel()), default=0.0)


def _distance(got: Tensor, want: Tensor) -> float:
    """The largest difference, computed in float64; NaN, which is within no bound, if anything is NaN."""
    return float((got.double() - want.double()).abs().max()) if want.numel() else 0.0


def _largest_distance(got: Sequence[Tensor], want: Sequence[Tensor]) -> float:
    distances = [_distance(mine, other) for mine, other in zip(got, want, strict=True)]
    return float(torch.tensor(distances, dtype=torch.float64).max())  # Python's max loses a NaN


def _eps(tensor: Tensor) -> float:
    return torch.finfo(tensor.dtype).eps
