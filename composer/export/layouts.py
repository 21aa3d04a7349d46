"""A layout of a packed sequence as inputs of a graph. How layouts are made is known here alone."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from ..attention.segments import Segments
from ..errors import ExportError
from .runtime import segment_tables

TABLE, PLACE = ".table", ".place"


class SizesNeededError(ExportError):
    """A tower that asks for the sizes of the images while it runs; no way of tracing helps."""


class HostGrids:
    """Stands in for the grids of a batch where a graph is traced: they are numbers of the host.

    A tower that asks for them while it runs would be exported for the sizes of one batch.
    """

    def _refuse(self, *_: object) -> Any:
        raise SizesNeededError("its tower reads the sizes of the images while it runs")

    __iter__ = __len__ = __getitem__ = __bool__ = _refuse


class GraphSegments(Segments):
    """Segments whose tables are inputs of a graph; :func:`attend` reads them there."""

    def __init__(self, table: Tensor, place: Tensor) -> None:
        self.groups, self.order, self.inverse = table, place, place


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    table: Tensor,
    place: Tensor,
    inverse: Tensor,
    scale: float,
    dropout: float,
    seed: Tensor | None,
    eager: bool,
) -> Tensor:
    """Attend inside segments by operations that every runtime has, in place of the packed operation.

    Arguments are those of ``packed_attention_op``, with the tables of :class:`GraphSegments`. Segments are
    padded to the longest.
    """
    index = table.clamp(min=0)
    q, k, v = (tensor[index].transpose(1, 2) for tensor in (query, key, value))
    mask = (table >= 0)[:, None, None, :]
    output = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    return output.transpose(1, 2).flatten(0, 1)[place]


def tensors_of(made: object) -> dict[str, Tensor]:
    """Return the tensors of a layout by name; those of segments are what ``segment_tables`` makes."""
    return dict(_tensors(made))


def _tensors(made: object) -> Iterator[tuple[str, Tensor]]:
    for name, value in sorted(vars(made).items()) if made is not None else ():
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, Segments):
            tables = segment_tables(value.cu_seqlens.diff().tolist())
            yield from zip((name + TABLE, name + PLACE), tables, strict=True)
        elif isinstance(value, tuple) and all(isinstance(part, Tensor) for part in value):
            yield from ((f"{name}.{i}", part) for i, part in enumerate(value))


def with_tensors(like: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return a layout like ``like`` that has these tensors, and no grids."""
    if like is None:
        return None
    made = copy.copy(like)
    for name, value in vars(like).items():
        own: Any = value
        if name == "grids":
            own = HostGrids()
        elif isinstance(value, Tensor):
            own = tensors[name]
        elif isinstance(value, Segments):
            own = GraphSegments(tensors[name + TABLE], tensors[name + PLACE])
        elif isinstance(value, tuple) and all(isinstance(part, Tensor) for part in value):
            own = tuple(tensors[f"{name}.{i}"] for i in range(len(value)))
        object.__setattr__(made, name, own)
    return made
