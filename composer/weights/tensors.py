"""Reading one tensor as numbers that a tower can compute with: at once, or when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import torch

from ..errors import WeightsError
from .header import NOT_QUANTISED, TensorHeader
from .kinds import quantised_by
from .source import Checkpoint
from .staging import Staging

if TYPE_CHECKING:
    from torch import Tensor

_READABLE = {"float64", "float32", "float16", "bfloat16"}


def check_readable(
    checkpoint: Checkpoint, name: str, header: TensorHeader, *, stored: str | None = None
) -> None:
    """Refuse a tensor of a dtype that is no float, but for that of weights that were ``stored`` quantised.

    Raises:
        WeightsError: If it is one.
    """
    if header.dtype not in _READABLE and header.dtype != stored:
        dtype = f"torch.{header.dtype}" if hasattr(torch, header.dtype) else header.dtype
        method = quantised_by(checkpoint)
        by = f" by {method}" if method else ""
        raise WeightsError(
            f"{header.file}: tensor {checkpoint.called(name)} is {dtype}; quantised{by}, it is not read: "
            f"{NOT_QUANTISED}"
        )


def read_tensor(
    checkpoint: Checkpoint, name: str, header: TensorHeader, dtype: torch.dtype, staging: Staging
) -> Tensor:
    """Read a tensor to a device and cast it there.

    Raises:
        WeightsError: If it cannot be read, is not finite, or does not fit into the dtype.
    """
    tensor, name = checkpoint.read(name, header, staging), checkpoint.called(name)
    if tensor.dtype == torch.float8_e4m3fn:
        tensor = tensor.to(dtype)  # exactly; torch finds no largest of float8
    if tensor.dim() == 0 and not bool(tensor.isnan()):
        return tensor.to(dtype)  # a bound of a clamp may be infinite
    extremes = _extremes(tensor)
    if not extremes.isfinite().all():
        raise WeightsError(f"{header.file}: tensor {name} holds NaN or infinity")
    cast = tensor.to(dtype)
    # Rounding keeps the order of values, so that none of them overflows if the extremes do not.
    if cast is not tensor and not extremes.to(dtype).isfinite().all():
        largest = float(tensor.abs().max())
        raise WeightsError(
            f"{header.file}: tensor {name} reaches {largest:g}, more than weights.dtype {dtype} can hold"
        )
    return cast


class Unread:
    """A tensor that transformers reads when it comes to it, as it does with those of a safetensors file.

    transformers takes all of it by ``[...]`` and moves that where its ``device_map`` says, which needs
    accelerate, or to the CPU. This goes to its own device instead.

    Args:
        read: Reads it to the device.
        staging: What it passes.
    """

    def __init__(self, read: Callable[[], Tensor], staging: Staging) -> None:
        self._read, self._staging = read, staging

    def __getitem__(self, index: object) -> Self:
        return self

    def to(self, *, device: object, dtype: torch.dtype) -> Tensor:
        """Read the tensor. Of the threads in which transformers calls this, one at a time does.

        Raises:
            WeightsError: As :func:`read_tensor`.
        """
        with self._staging.turn():
            return self._read().to(dtype)


def is_finite(tensor: Tensor) -> bool:
    """Whether all values are finite, found in one pass and without a mask as large as the tensor."""
    return bool(_extremes(tensor).isfinite().all())


def _extremes(tensor: Tensor) -> Tensor:
    """Return the least and the largest value, (2,); NaN if there is one, and zeros for no values at all."""
    return torch.stack(torch.aminmax(tensor)) if tensor.numel() else tensor.new_zeros(2)
