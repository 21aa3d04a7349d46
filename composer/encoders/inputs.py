"""Check the inputs that a tower is called with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def check_tensor(name: str, value: object) -> Tensor:
    """Return ``value``, which must be a tensor.

    Raises:
        InputError: If it is not.
    """
    import torch

    if not isinstance(value, torch.Tensor):
        raise InputError(f"{name} must be a tensor, not {type(value).__name__}")
    return value


def check_pixels(name: str, value: object) -> Tensor:
    """Return ``value``, which must be a tensor of floats.

    Raises:
        InputError: If it is not.
    """
    pixels = check_tensor(name, value)
    if not pixels.is_floating_point():
        raise InputError(
            f"{name} are {pixels.dtype}; they must be normalised floats, as encoder.preprocess(images) makes "
            "them"
        )
    return pixels


def check_integers(name: str, value: object) -> Tensor:
    """Return ``value``, which must be a tensor of integers, as int64 on the CPU.

    Raises:
        InputError: If it is not.
    """
    import torch

    integers = check_tensor(name, value)
    if integers.dtype not in (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8):
        raise InputError(f"{name} is {integers.dtype}; it must be integers")
    return integers.long().cpu()


def whole_numbers(name: str, value: object, shape: tuple[int, ...], most: int) -> Tensor:
    """Return a tensor of integers from 0 to ``most`` as int64 on the CPU.

    Raises:
        InputError: If it is not a tensor of integers, has another shape, or holds other values.
    """
    numbers = check_integers(name, value)
    if tuple(numbers.shape) != shape:
        raise InputError(f"{name} must be {shape} to fit pixel_values, not {tuple(numbers.shape)}")
    if not bool(((numbers >= 0) & (numbers <= most)).all()):
        raise InputError(f"{name} must be whole numbers from 0 to {most}")
    return numbers


def rows_of_integers(name: str, value: object, columns: int, meaning: str) -> list[tuple[int, ...]]:
    """Return the rows of an (images, columns) tensor of integers as numbers.

    Raises:
        InputError: If it is not a tensor of integers, or has another shape.
    """
    rows = check_integers(name, value)
    if rows.dim() != 2 or rows.shape[1] != columns:
        raise InputError(f"{name} must be (images, {columns}), {meaning}, not {tuple(rows.shape)}")
    return [tuple(row) for row in rows.tolist()]


def check_mask(name: str, value: object, shape: tuple[int, ...]) -> Tensor:
    """Return a mask as booleans on the CPU.

    Raises:
        InputError: If it is not a tensor of integers or booleans, or has another shape.
    """
    mask = check_tensor(name, value)
    if mask.is_floating_point() or mask.is_complex():
        raise InputError(f"{name} is {mask.dtype}; it must be booleans or integers")
    if tuple(mask.shape) != shape:
        raise InputError(f"{name} must be {shape} to fit pixel_values, not {tuple(mask.shape)}")
    return (mask != 0).cpu()


def without_padding(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """Return the first rows of every image, image after image; the host does not wait for the device.

    Args:
        rows: (images, rows, ...), padded at the end.
        counts: How many of each are no padding.
    """
    import torch

    parts = [image[:count] for image, count in zip(rows, counts, strict=True)]
    return torch.cat(parts) if parts else rows.flatten(0, 1)


def refuse_unknown(model_type: str, inputs: Mapping[str, object], known: tuple[str, ...]) -> None:
    """Raise InputError for inputs with names that are not known."""
    if unexpected := sorted(set(inputs) - set(known)):
        raise InputError(
            f"unexpected input {', '.join(unexpected)}: a {model_type} tower takes {', '.join(known)}"
        )
