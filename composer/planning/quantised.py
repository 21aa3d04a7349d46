"""The bytes that quantised weights take. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from ..encoders.shapes import Shapes

_BESIDE_A_ROW = {"int8": 5, "int8-dynamic": 5, "float8": 4}
"""A config's ``quantize`` -> bytes beside the values of each output feature: a scale in float32, and the zero
point that torchao keeps of int8."""
_FLOAT8_TILE = 16
"""What both sides of a weight must be a multiple of to become float8."""


def bytes_saved(shapes: Shapes, quantize: str, bytes_per_value: int) -> int:
    """Return how many bytes fewer tensors take once the linear layers among them are quantised.

    Args:
        shapes: The tensors of blocks, or of a connector.
        quantize: The config's ``quantize``.
        bytes_per_value: Of the weights as they are.
    """
    if quantize == "none":
        return 0
    beside = _BESIDE_A_ROW[quantize]
    weights = [shape for name, shape in shapes.items() if len(shape) == 2 and name.endswith(".weight")]
    return sum(
        prod(shape) * (bytes_per_value - 1) - shape[0] * beside for shape in _fitting(weights, quantize)
    )


def _fitting(weights: Iterable[tuple[int, ...]], quantize: str) -> Iterable[tuple[int, ...]]:
    if quantize != "float8":
        return weights
    return [shape for shape in weights if all(side % _FLOAT8_TILE == 0 for side in shape)]
