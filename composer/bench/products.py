"""Whose matrix products run a tower's blocks fastest on this machine, for ``max-performance``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..running.compilation import FrozenBlocks, compile_settings
from ..running.products import LIBRARY, ProductChoice, candidates, keep, product_key, products_file
from ..schemas import CompileConfig
from ..tower.module import run_block
from .comparison import checked, noise
from .measure import interleaved

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..encoder import ComposedVisionEncoder

_LEAD = 0.97
"""How long others may take at most, relative to the default, to be taken instead of it."""


@dataclass(frozen=True)
class ProductsResult:
    """What was measured and kept.

    Attributes:
        seconds: Kind of product -> seconds of a block in each round, the default's first.
        chosen: The kind that is used from now on.
        key: What it is used for: processor, instructions, threads, torch, dtype and widths.
        file: Where it is kept.
    """

    seconds: dict[str, tuple[float, ...]]
    chosen: str
    key: str
    file: Path


def choose_products(encoder: ComposedVisionEncoder, *, rounds: int = 20) -> ProductsResult:
    """Time each kind of product, and keep the fastest for towers of these widths on this machine.

    Raises:
        InputError: As :func:`time_products`, or if the choice cannot be kept.
        BackendError: As :func:`time_products`.
    """
    seconds = time_products(encoder, rounds=rounds)
    chosen = fastest(seconds)
    try:
        file = keep(encoder.tower, chosen)
    except OSError as error:
        raise InputError(f"{products_file()}: cannot be written: {error.strerror or error}") from error
    return ProductsResult(seconds, chosen, product_key(encoder.tower), file)


def time_products(encoder: ComposedVisionEncoder, *, rounds: int = 20) -> dict[str, tuple[float, ...]]:
    """Time the tower's first block for one image, compiled with frozen weights, with each kind of product.

    Args:
        encoder: An uncompiled encoder on the CPU whose images have one size.
        rounds: How often each is timed.

    Returns:
        Kind of product -> seconds of the block in each round, the default's first.

    Raises:
        InputError: If the weights of such an encoder are not frozen.
        BackendError: If a product differs by more than rounding explains.
    """
    tower = encoder.tower
    if tower.device.type != "cpu" or not tower.family.has_fixed_shapes(tower.info):
        raise InputError(
            f"{tower.info.model_type} on {tower.device.type}: products are chosen on the CPU only, and for "
            "encoders whose images have one size, whose weights max-performance freezes"
        )
    calls: list[tuple[nn.Module, Tensor, dict[str, Any]]] = []

    def watched(block: nn.Module, hidden_states: Tensor, **inputs: Any) -> Tensor:
        calls.append((block, hidden_states, inputs))
        return run_block(block, hidden_states, **inputs)

    with encoder.evaluating():
        tower.run_block = watched
        try:
            encoder(**noise(encoder, [(tower.info.image_size,) * 2]))
        finally:
            tower.run_block = run_block
        block, hidden_states, inputs = calls[0]
        expected = run_block(block, hidden_states, **inputs)
        runs = {}
        for name in candidates(encoder.dtype):
            settings = compile_settings(
                CompileConfig(mode="max-performance"),
                "cpu",
                fixed_shapes=True,
                find_products=partial(ProductChoice, name),
            )
            runs[name] = partial(FrozenBlocks(settings), block, hidden_states, **inputs)
            checked(f"a block with {name} products", runs[name](), expected, encoder.dtype)
        seconds = interleaved(list(runs.values()), rounds, tower.device)
    return dict(zip(runs, seconds, strict=True))


def fastest(seconds: Mapping[str, Sequence[float]]) -> str:
    """Return the products to use: the default, unless others were clearly faster.

    Others must be faster by 3% in the median, and in four of five rounds: what a busy machine does beside
    them seldom looks like that.
    """
    default = seconds[LIBRARY]
    ahead = [LIBRARY]
    for name, times in seconds.items():
        wins = sum(one < other for one, other in zip(times, default, strict=True))
        if median(times) < _LEAD * median(default) and wins >= 0.8 * len(times):
            ahead.append(name)
    return min(ahead, key=lambda name: median(seconds[name]))
