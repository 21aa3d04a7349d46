"""Run a tower before real images come, and check that its compiled code gives the same features."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeGuard

import numpy as np
import torch
from torch import Tensor

from ..errors import CompiledDifferenceError, InputError
from ..images.decode import ImageLike
from ..tower.base import Features

Size = tuple[int, int]
"""Width and height of an image in pixels."""

BatchOfSizes = int | Size | Sequence[Size]
"""Images of one forward: a number of images of the encoder's own size, one size, or the size of each."""

TOLERANCE = {torch.float64: 1e-3, torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest difference of a token's features, relative to their norm, that rounding explains. transformers
computes parts of a float64 model in float32."""


_OF_8_BITS = 5e-2
"""The same where activations are rounded to 8 bits: a value between two of them may go to either."""


def warm_up(
    run: Callable[[Mapping[str, Tensor]], Features],
    preprocess: Callable[[Sequence[ImageLike]], Mapping[str, Tensor]],
    batches: Iterable[BatchOfSizes],
    *,
    image_size: int,
    dtype: torch.dtype,
    in_8_bits: bool = False,
) -> float:
    """Run random images of every batch and compare; see ``encoder.warmup``.

    Args:
        run: The forward, in evaluation mode.
        preprocess: Turns images into inputs of the forward.
        batches: The batches to expect.
        image_size: Side of the images of a batch that is given as a number.
        dtype: The dtype of the features.
        in_8_bits: Whether activations are rounded to 8 bits on the way.

    Raises:
        CompiledDifferenceError: If compiled and uncompiled features differ by more than rounding explains.
        InputError: If a batch is neither a number, a size, nor a list of sizes.
    """
    generator = np.random.default_rng(0)
    largest = 0.0
    for batch in batches:
        sizes = _sizes(batch, image_size)
        shapes = [(height, width, 3) for width, height in sizes]
        inputs = preprocess([generator.integers(0, 256, shape, dtype=np.uint8) for shape in shapes])
        features = run(inputs)
        with torch.compiler.set_stance("force_eager"):
            expected = run(inputs)
        difference = largest_difference(features, expected)
        tolerance = _OF_8_BITS if in_8_bits else TOLERANCE[dtype]
        kind = "8 bits" if in_8_bits else str(dtype).removeprefix("torch.")
        if not difference <= tolerance:  # a NaN is not small
            raise CompiledDifferenceError(
                f"the compiled tower gives wrong features for images of {_text(sizes)}: they differ by "
                f"{difference:.2g} of a token's norm, and rounding in {kind} explains {tolerance:g}; set "
                "compile to false"
            )
        largest = max(largest, difference)
    return largest


def largest_difference(features: Features, expected: Features) -> float:
    """The largest difference of one token's features, relative to the norm of the expected ones.

    Args:
        features: What a tower returned: a tensor, or a tuple of them.
        expected: The features that it should have returned.
    """
    pairs = zip(_tensors(features), _tensors(expected), strict=True)
    differences = [_difference(one, other) for one, other in pairs if other.numel()]
    return float(np.max(differences, initial=0.0))  # Python's max would lose a NaN that is not the first


def _difference(one: Tensor, other: Tensor) -> float:
    error = (one.double() - other.double()).norm(dim=-1)
    norm = other.double().norm(dim=-1)
    return float((error / norm.clamp(min=torch.finfo(other.dtype).tiny)).max())


def _tensors(output: Features) -> tuple[Tensor, ...]:
    return (output,) if isinstance(output, Tensor) else output


def _sizes(batch: object, side: int) -> list[Size]:
    if isinstance(batch, int) and not isinstance(batch, bool) and batch >= 1:
        return [(side, side)] * batch
    images = [batch] if _is_size(batch) else batch
    if isinstance(images, Sequence) and images and all(map(_is_size, images)):
        return list(images)
    raise InputError(
        f"{batch!r} is no batch: warmup takes batches, each a number of images, one (width, height), or a "
        "list of (width, height)"
    )


def _is_size(value: object) -> TypeGuard[Size]:
    return (
        isinstance(value, Sequence)
        and len(value) == 2
        and all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in value)
    )


def _text(sizes: Sequence[Size]) -> str:
    texts = [f"{width}x{height}" for width, height in sizes[:4]]
    return ", ".join(texts) + (f" and {len(sizes) - 4} more" if len(sizes) > 4 else "")
