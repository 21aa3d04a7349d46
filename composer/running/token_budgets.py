"""Run packed towers as CUDA graphs, each recorded for a number of tokens up to which batches are padded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from math import prod
from threading import Lock
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ..attention.packed import reads_lengths_on_device
from ..attention.segments import Segments
from ..encoders.batch import Batch
from ..encoders.layout import Layout
from ..encoders.packed import PackedBatch
from ..errors import BackendError
from ..tower.module import VisionTower

Record: TypeAlias = Callable[[Callable[[], Tensor]], Callable[[], Tensor]]
"""Records what a function does on the device, and returns a function that does it again: with the same
memory, and for what stands there by then. It returns the same tensor every time, with other values."""

_TOKENS_A_SEGMENT = 256
"""A graph has room for one frame of so many tokens on average; kernels look at every place."""
_FEWEST_SEGMENTS = 8


def token_budgets(tower: VisionTower, budgets: Sequence[int]) -> TokenBudgets:
    """Return what runs a tower on CUDA by recordings.

    Raises:
        BackendError: If the tower or its attention cannot be recorded for all batches of so many tokens.
    """
    model_type, attention = tower.info.model_type, tower.model.config._attn_implementation
    if not getattr(tower.family, "shapes_follow_tokens", False):
        raise BackendError(
            f"{model_type} cannot be recorded for a number of tokens, because more of a batch decides what "
            "runs; leave compile.token_budgets out"
        )
    if not reads_lengths_on_device(attention):
        raise BackendError(
            "compile.token_budgets needs attention that reads the images' lengths on the device; set "
            "attn_backend to varlen or to an installed flash_attention"
        )
    return TokenBudgets(tower, budgets)


@dataclass(frozen=True)
class _Graph:
    """A recording.

    Attributes:
        pixels: What it reads pixels from.
        layout: What it reads the layout from.
        replay: Runs it.
    """

    pixels: Tensor
    layout: Layout
    replay: Callable[[], Tensor]


class TokenBudgets:
    """Runs batches by one recording for each of a few numbers of tokens, without gradients.

    A batch is padded to the least of them that is enough, by an image of its own that no other attends to.
    Batches with more tokens or frames than there is room for, in training mode, with gradients or under
    autocast run as they do without recordings.

    Args:
        tower: The tower; its family's ``shapes_follow_tokens`` must be true, and its attention must read
            lengths on the device only.
        budgets: Numbers of patches.
        record: Records; CUDA graphs by default.
    """

    def __init__(self, tower: VisionTower, budgets: Sequence[int], record: Record | None = None) -> None:
        self._tower = tower
        square = tower.info.grid_multiple**2
        self._budgets = sorted({budget // square * square for budget in budgets} - {0})
        self._record = record or CudaGraphs()
        self._graphs: dict[int, _Graph] = {}
        self._weights: tuple[object, ...] = ()
        self._lock = Lock()

    def __call__(self, batch: Batch) -> Tensor:
        budget = self._budget(batch)
        if budget is None or not isinstance(batch, PackedBatch):
            return self._tower.features(batch)
        with self._lock:
            graph = self._filled(batch, budget)
            rows = sum(self._tower.rows_of_batch(batch))
            return graph.replay().narrow(-2, 0, rows).clone()  # the next batch overwrites it

    def _budget(self, batch: Batch) -> int | None:
        """Return the tokens that a batch is padded to, or None if it runs without a recording."""
        tower = self._tower
        if torch.is_grad_enabled() or tower.model.training or torch.is_autocast_enabled(tower.device.type):
            return None
        tokens, frames = sum(map(prod, batch.grids)), sum(grid[0] for grid in batch.grids)
        for budget in self._budgets:
            if tokens <= budget and frames < _room(budget):
                return budget
        return None

    def _filled(self, batch: PackedBatch, budget: int) -> _Graph:
        """Return the recording for a budget, with a batch in its memory."""
        tower = self._tower
        weights = (tower.dtype, *(parameter.data_ptr() for parameter in tower.parameters()))
        if weights != self._weights:  # a recording holds the addresses of the weights
            self._weights, self._graphs = weights, {}
        padded = _padded(batch, budget, tower.info.grid_multiple)
        layout = tower.layout(padded).with_fixed_segments(_room(budget))
        graph = self._graphs.get(budget)
        if graph is None:
            # Made in inference mode, the memory could not be written to outside.
            with torch.inference_mode(False), torch.no_grad():
                pixels = batch.pixels.new_zeros(budget, *batch.pixels.shape[1:])
                graph = self._recorded(replace(padded, pixels=pixels), deepcopy(layout))
            self._graphs[budget] = graph
        graph.pixels[: len(batch.pixels)].copy_(batch.pixels)
        graph.pixels[len(batch.pixels) :].zero_()
        for mine, given in zip(_tensors(graph.layout), _tensors(layout), strict=True):
            mine.copy_(given)
        return graph

    def _recorded(self, batch: PackedBatch, layout: Layout) -> _Graph:
        replay = self._record(lambda: self._tower.features(batch, layout))
        return _Graph(batch.pixels, layout, replay)


def _room(budget: int) -> int:
    """Return how many frames a recording has room for, with that of the padding."""
    return max(_FEWEST_SEGMENTS, budget // _TOKENS_A_SEGMENT)


def _padded(batch: PackedBatch, budget: int, multiple: int) -> PackedBatch:
    """Return the batch with an image of the tokens that are missing, whose pixels are not there yet."""
    missing = budget - sum(map(prod, batch.grids))
    more = ((1, multiple, missing // multiple),) if missing else ()
    return replace(batch, grids=batch.grids + more)


def _tensors(layout: Layout) -> Iterator[Tensor]:
    """Yield the tensors that a forward reads from a layout on the device."""
    for field in fields(layout):
        value = getattr(layout, field.name)
        if isinstance(value, Segments):
            yield value.cu_seqlens
        elif field.init and isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple):
            yield from (part for part in value if isinstance(part, Tensor))


class CudaGraphs:
    """Records CUDA graphs, all in one pool of memory: they run one after the other."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        ahead, here = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        ahead.wait_stream(here)
        with torch.cuda.stream(ahead):
            run()  # what is compiled or chosen by trying is so before
        here.wait_stream(ahead)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            output = run()
        self._pool = graph.pool()

        def replay() -> Tensor:
            graph.replay()
            return output

        return replay
