"""A layout of a packed sequence as inputs of a graph. How layouts are made is known here alone."""

from __future__ import annotations

import base64
import copy
import io
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from ..attention import segments as of_segments
from ..attention.segments import Segments
from ..encoders import layout
from ..encoders.facts import Grid
from ..errors import ExportError
from .runtime import segment_tables

if TYPE_CHECKING:
    from ..encoders.batch import Batch
    from ..tower.module import VisionTower

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


class _Unsegmented(Segments):
    """Stands in for segments where the layout of one frame is traced: the runtime makes their tables."""

    def __init__(self, lengths: Sequence[int], device: object = "cpu") -> None:
        pass


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
        elif isinstance(value, _Unsegmented):
            continue
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


class LayoutOfFrame(nn.Module):
    """Makes a layout's tensors, but those of its segments, for one frame of any size.

    Args:
        tower: The tower.
        batch: A batch of it.
        names: The tensors.
    """

    def __init__(self, tower: VisionTower, batch: Batch, names: Sequence[str]) -> None:
        super().__init__()
        # In a tuple, or the tower's weights would be those of this module.
        self._tower, self._batch, self._names = (tower,), batch, names

    def forward(self, frame: Tensor) -> list[Tensor]:
        """Return the tensors; ``frame`` is (rows, columns) of squares, and its values do not count."""
        (tower,) = self._tower
        side = tower.info.grid_multiple
        grid = (1, frame.shape[0] * side, frame.shape[1] * side)
        found = tensors_of(_layout(tower, self._batch, (grid,)))
        return [found[name] for name in self._names]


def _layout(tower: VisionTower, batch: Batch, grids: tuple[Grid, ...]) -> Any:
    batch = copy.copy(batch)
    object.__setattr__(batch, "grids", grids)
    return tower.family.layout(tower.model, batch, torch.device("cpu"), tower.dtype)


def describe(tower: VisionTower, batch: Batch) -> dict[str, Any]:
    """Return how the runtime makes a layout's tensors, as JSON-ready values.

    Raises:
        ExportError: If it cannot make them frame by frame.
    """
    side = tower.info.grid_multiple
    one, other, clip = (1, 3 * side, 4 * side), (1, 2 * side, 5 * side), (2, 3 * side, 4 * side)
    real = tensors_of(_layout(tower, batch, (one, other)))
    windows: list[dict[str, int]] = []
    with patch.multiple(layout, window_order=partial(_unsorted, windows), by_square=_as_they_are):
        single, next_, both, frames = (
            tensors_of(_layout(tower, batch, grids)) for grids in ((one,), (other,), (one, other), (clip,))
        )
        inputs: list[dict[str, Any]] = []
        made: list[str] = []
        for name, joined in both.items():
            part = int(name.endswith((PLACE, "_inverse")))
            if windows and name in ("window_index", "window_inverse"):
                inputs.append({"kind": "windows", "part": part})
            elif name.endswith((TABLE, PLACE)):
                of = "window" if windows and name.startswith("windows.") else _attended(name, frames, clip)
                inputs.append({"kind": "segments", "of": of, "part": part})
            elif name == "whole":
                inputs.append({"kind": "whole"})
            else:
                dim, offset = _how_joined(name, single[name], next_[name], joined, _patches(one))
                moved = not torch.equal(real[name], joined)
                inputs.append(
                    {"kind": "joined", "output": len(made), "dim": dim, "offset": offset, "windows": moved}
                )
                made.append(name)
        program = _program(tower, batch, made) if made else None  # torch saves no graph without outputs
    return {
        "inputs": inputs,
        "side": side,
        "windows": windows[0] if windows else None,
        "program": program,
    }


def _as_they_are(states: Tensor, index: Tensor) -> Tensor:
    """Stand in for ``by_square`` where squares stay in their order."""
    return states


def _unsorted(
    seen: list[dict[str, int]], grids: Sequence[Grid], merge_size: int, window: int
) -> tuple[Tensor, list[int]]:
    """Stand in for ``window_order``: leave squares in their order, and note how large windows are.

    The runtime sorts, because the number of windows is no number that a graph can follow.
    """
    seen.append({"side": merge_size, "window": window})
    squares = sum(t * h * w for t, h, w in grids) // merge_size**2
    return torch.arange(squares), [squares * merge_size**2]


def _patches(grid: Grid) -> int:
    frames, rows, columns = grid
    return frames * rows * columns


def _attended(name: str, of_clip: Mapping[str, Tensor], clip: Grid) -> str:
    """Return whether each ``frame`` attends to itself, or each ``clip``."""
    lengths = {"frame": [_patches(clip) // clip[0]] * clip[0], "clip": [_patches(clip)]}
    for kind, own in lengths.items():
        table, place = segment_tables(own)
        wanted = place if name.endswith(PLACE) else table
        if torch.equal(of_clip[name], wanted) and not (kind == "clip" and name.endswith(PLACE)):
            return (
                kind if name.endswith(TABLE) else _attended(name.removesuffix(PLACE) + TABLE, of_clip, clip)
            )
    raise ExportError("its layout: blocks attend neither to frames nor to whole images")


def _how_joined(name: str, one: Tensor, other: Tensor, both: Tensor, patches: int) -> tuple[int, bool]:
    """Return the axis on which two images' tensors are joined, and whether the second counts on.

    Raises:
        ExportError: If they are joined in another way.
    """
    for dim in range(both.dim()):
        if one.shape[dim] + other.shape[dim] == both.shape[dim]:
            for offset in (0, patches):
                if torch.equal(torch.cat([one, other + offset if offset else other], dim=dim), both):
                    return dim, bool(offset)
    raise ExportError(f"its layout: {name} is not made image by image")


def _program(tower: VisionTower, batch: Batch, names: Sequence[str]) -> str:
    """Export what makes the tensors of a frame; return the file in base 64."""
    dynamic = torch.export.Dim.DYNAMIC
    of_frame = LayoutOfFrame(tower, batch, names)
    try:
        with patch.object(of_segments, "Segments", _Unsegmented), torch.no_grad():
            program = torch.export.export(
                of_frame, (torch.empty(3, 5),), dynamic_shapes=((dynamic, dynamic),)
            )
    except Exception as error:  # as where the graph is traced
        raise ExportError(f"its layout cannot be traced: {str(error).splitlines()[0][:200]}") from error
    file = io.BytesIO()
    torch.export.save(program, file)
    return base64.b64encode(file.getvalue()).decode()
