"""Run towers as CUDA graphs, each recorded for a number of patches up to which batches are padded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from ..attention.packed import reads_lengths_on_device
from ..attention.segments import Segments
from ..encoders.batch import Batch
from ..encoders.layout import Layout
from ..encoders.padding import Padding
from ..errors import BackendError
from ..tower.module import VisionTower
from .cuda_graphs import CudaGraphs, Recorder


def token_budgets(tower: VisionTower, budgets: Sequence[int]) -> TokenBudgets:
    """Return what runs a tower on CUDA by recordings.

    Raises:
        BackendError: If the tower or its attention cannot be recorded for all batches of so many patches, or
            a number is too small for any image.
    """
    model_type, attention = tower.info.model_type, tower.model.config._attn_implementation
    padding = tower.family.padding(tower.info)
    if padding is None:
        raise BackendError(
            f"{model_type} cannot be recorded for a number of patches, because more of a batch decides what "
            "runs; leave compile.token_budgets out"
        )
    if padding.reads_lengths and not reads_lengths_on_device(attention):
        raise BackendError(
            "compile.token_budgets needs attention that reads the images' lengths on the device; set "
            "attn_backend to varlen or to an installed flash_attention"
        )
    if (given := min(budgets)) < padding.smallest:
        raise BackendError(
            f"compile.token_budgets has {given}, but the smallest image of {model_type} has "
            f"{padding.smallest} patches; name larger numbers"
        )
    return TokenBudgets(tower, padding, budgets)


@dataclass(frozen=True)
class _Graph:
    """A recording.

    Attributes:
        pixels: What it reads pixels from.
        layout: What it reads the layout from.
        replay: Runs it.
    """

    pixels: Tensor
    layout: Layout | None
    replay: Callable[[], Tensor]


class TokenBudgets:
    """Runs batches by one recording for each of a few numbers of patches, without gradients.

    A batch is padded to the least of them that is enough. Batches that fit none, in training mode, with
    gradients or under autocast run as they do without recordings.

    Args:
        tower: The tower.
        padding: How its batches are padded.
        budgets: Numbers of patches.
        recorder: Records; CUDA graphs by default.
    """

    def __init__(
        self,
        tower: VisionTower,
        padding: Padding[Any, Any],
        budgets: Sequence[int],
        recorder: Recorder | None = None,
    ) -> None:
        self._tower, self._padding = tower, padding
        self._budgets = sorted({padding.budget(budget) for budget in budgets})
        self._shape = tower.blank().pixels.shape[1:]
        self._recorder = recorder or CudaGraphs(tower.device)
        self._graphs: dict[int, _Graph] = {}
        self._weights: tuple[object, ...] = ()
        self._lock = Lock()

    def __call__(self, batch: Batch) -> Tensor:
        budget = self._budget(batch)
        if budget is None:
            return self._tower.features(batch)
        with self._lock, self._recorder.one_at_a_time():
            graph = self._filled(batch, budget)
            features = self._padding.cut(graph.replay(), batch, self._tower.readout.num_tokens)
            return features.clone()  # the next batch overwrites it

    def _budget(self, batch: Batch) -> int | None:
        """Return the patches that a batch is padded to, or None if it runs without a recording."""
        tower = self._tower
        if torch.is_grad_enabled() or tower.model.training or torch.is_autocast_enabled(tower.device.type):
            return None
        if sum(isinstance(value, Tensor) for value in vars(batch).values()) > 1:
            return None  # pixels are not all that decides the features: a recording holds one mask
        if batch.pixels.shape[1:] != self._shape:
            return None  # images of another size than the encoder's own
        return next((budget for budget in self._budgets if self._padding.fits(batch, budget)), None)

    def _filled(self, batch: Batch, budget: int) -> _Graph:
        """Return the recording for a budget, with a batch in its memory."""
        tower = self._tower
        weights = (tower.dtype, *_addresses(tower))
        if weights != self._weights:  # a recording holds the addresses of the weights
            self._weights, self._graphs = weights, {}
        padding = self._padding
        layout = padding.fixed(tower.layout(padding.padded(batch, budget)), budget)
        graph = self._graphs.get(budget)
        if graph is None:
            # Made in inference mode, the memory could not be written to outside.
            with torch.inference_mode(False), torch.no_grad():
                graph = self._recorded(padding.blank(batch, budget), deepcopy(layout))
            self._graphs[budget] = graph
        graph.pixels[: len(batch.pixels)].copy_(batch.pixels)
        graph.pixels[len(batch.pixels) :].zero_()
        for mine, given in zip(_tensors(graph.layout), _tensors(layout), strict=True):
            mine.copy_(given)
        return graph

    def _recorded(self, batch: Batch, layout: Layout | None) -> _Graph:
        replay = self._recorder(lambda: self._tower.features(batch, layout))
        return _Graph(batch.pixels, layout, replay)


def _addresses(module: nn.Module) -> Iterator[int]:
    """Yield where the parameters of a module are, also those of adapters that were put into it.

    Takes a third of the time of ``module.parameters()``, which a small batch would notice.
    """
    left: list[nn.Module | None] = [module]
    while left:
        if (part := left.pop()) is not None:
            left += part._modules.values()
            yield from (weight.data_ptr() for weight in part._parameters.values() if weight is not None)


def _tensors(layout: Layout | None) -> Iterator[Tensor]:
    """Yield the tensors that a forward reads from a layout on the device."""
    for field in () if layout is None else fields(layout):
        value = getattr(layout, field.name)
        if isinstance(value, Segments):
            yield value.cu_seqlens
        elif field.init and isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple):
            yield from (part for part in value if isinstance(part, Tensor))
