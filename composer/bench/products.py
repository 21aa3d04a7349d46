"""Whose matrix products are faster on this machine, for ``max-performance``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.modules.module import register_module_forward_pre_hook

from ..errors import InputError
from ..running.products import MKL, ONEDNN, Measured, Product, has_choice, keep, machine, products_file
from ..running.widths import padded
from .comparison import checked, noise
from .measure import Run, interleaved

if TYPE_CHECKING:
    from ..encoder import ComposedVisionEncoder

_IMAGES = (1, 2, 4, 8)
"""Images in a batch. Other batches use what was measured for the nearest number of rows."""
_WEIGHTS = 4
"""Weights that take turns, as those of the blocks do, so that the next one does not lie in the cache."""
_LEAD = 0.97
"""How long oneDNN's product may take at most, relative to MKL's, to be taken instead of it."""


@dataclass(frozen=True)
class ProductsResult:
    """What was measured and kept.

    Attributes:
        seconds: Product -> library -> seconds in each round.
        measured: Product -> the library that is used from now on.
        machine: What that holds for: processor, instructions, threads and torch.
        file: Where it is kept.
    """

    seconds: dict[Product, dict[str, tuple[float, ...]]]
    measured: Measured
    machine: str
    file: Path


def choose_products(encoder: ComposedVisionEncoder, *, rounds: int = 20) -> ProductsResult:
    """Time an encoder's matrix products with each library, and keep which is faster on this machine.

    Raises:
        InputError: If the weights of such an encoder are not frozen, there is nothing to choose from, or the
            choice cannot be kept.
        BackendError: If a product differs by more than rounding explains.
    """
    seconds = {
        Product(images * rows, *weight): time_product(Product(images * rows, *weight), rounds=rounds)
        for rows, *weight in products_of(encoder)
        for images in _IMAGES
    }
    measured = {product: choose_library(times) for product, times in seconds.items()}
    try:
        file = keep(measured)
    except OSError as error:
        raise InputError(f"{products_file()}: cannot be written: {error.strerror or error}") from error
    return ProductsResult(seconds, measured, machine(), file)


def products_of(encoder: ComposedVisionEncoder) -> list[Product]:
    """Return the products of an image's forward, each once.

    Raises:
        InputError: If the weights of such an encoder are not frozen, or there is nothing to choose from.
    """
    tower = encoder.tower
    if tower.device.type != "cpu" or not tower.family.has_fixed_shapes(tower.info):
        raise InputError(
            f"{tower.info.model_type} on {tower.device.type}: products are chosen on the CPU only, and for "
            "encoders whose images have one size, whose weights max-performance freezes"
        )
    if not has_choice(encoder.dtype):
        raise InputError(
            f"there is no choice of products of {encoder.dtype} in this build of torch; in float32 there is "
            "one if it has MKL and oneDNN: set weights.dtype to float32"
        )
    found: dict[Product, None] = {}

    def note(layer: nn.Module, inputs: Any) -> None:
        if isinstance(layer, nn.Linear):
            rows = inputs[0].numel() // layer.in_features
            found[Product(rows, padded(layer.in_features), padded(layer.out_features))] = None

    noting = register_module_forward_pre_hook(note)
    try:
        with encoder.evaluating():
            encoder(**noise(encoder, [(tower.info.image_size,) * 2]))
    finally:
        noting.remove()
    return list(found)


def time_product(product: Product, *, rounds: int) -> dict[str, tuple[float, ...]]:
    """Time a product of random numbers with each library, in turns.

    Returns:
        Library -> seconds in each round.

    Raises:
        BackendError: If a product differs by more than rounding explains.
    """
    hidden_states = torch.randn(product.rows, product.inputs)
    weights = [torch.randn(product.outputs, product.inputs) for _ in range(_WEIGHTS)]
    runs = {name: _runs(name, hidden_states, weights) for name in (MKL, ONEDNN)}
    for name, run in runs.items():
        for weight in weights:
            checked(f"{name}'s product", next(run), linear(hidden_states, weight), torch.float32)
    each: list[Run] = [run.__next__ for run in runs.values()]
    return dict(zip(runs, interleaved(each, rounds, torch.device("cpu")), strict=True))


def choose_library(seconds: Mapping[str, Sequence[float]]) -> str:
    """Return the library to use: MKL, unless oneDNN was clearly faster.

    It must be faster by 3% in the median, and in two of three rounds: what a busy machine does beside them
    seldom looks like that.
    """
    mkl, onednn = seconds[MKL], seconds[ONEDNN]
    wins = sum(one < other for one, other in zip(onednn, mkl, strict=True))
    return ONEDNN if median(onednn) < _LEAD * median(mkl) and wins >= 2 / 3 * len(mkl) else MKL


def _runs(name: str, hidden_states: Tensor, weights: Sequence[Tensor]) -> Iterator[Tensor]:
    """Multiply by one weight after the other, each packed beforehand, without end.

    Without a bias, which compiled blocks add to MKL's product together with what follows it.
    """
    rows = len(hidden_states)
    if name == MKL:
        reorder, multiply = torch.ops.mkl._mkl_reorder_linear_weight, torch.ops.mkl._mkl_linear
        for weight, packed in cycle([(weight, reorder(weight, rows)) for weight in weights]):
            yield multiply(hidden_states, packed, weight, None, rows)
    else:
        reorder, multiply = torch.ops.mkldnn._reorder_linear_weight, torch.ops.mkldnn._linear_pointwise
        for packed in cycle([reorder(weight, rows) for weight in weights]):
            yield multiply(hidden_states, packed, None, "none", [], "")
