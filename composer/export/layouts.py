"""The layout of a packed sequence inside a graph. How layouts are made is known here alone.

What a family's layout takes of its helpers, such as the places of patches, is an input of the graph. What it
makes of that is part of the graph.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias
from unittest.mock import patch

import torch
from torch import Tensor, nn

from ..attention.segments import Segments
from ..attention.sending import Parcel
from ..encoders.places import Patches, WindowedPatches
from ..encoders.position_taps import Mode, PositionTaps, taps_at
from ..encoders.rope import Rope
from ..errors import ExportError
from .runtime import Grid, Key, layout_tensors

if TYPE_CHECKING:
    from ..encoders.batch import Batch
    from ..tower.module import VisionTower

Read: TypeAlias = "Callable[[str, int], Tensor]"
"""Returns a tensor of a layout by its key."""


class SizesNeededError(ExportError):
    """A tower that asks for the sizes of the images while it runs; no way of tracing helps."""


class HostGrids:
    """Stands in for the grids of a batch where a graph is traced: they are numbers of the host.

    A tower that asks for them while it runs would be exported for the sizes of one batch.
    """

    def _refuse(self, *_: object) -> Any:
        raise SizesNeededError("its tower reads the sizes of the images while it runs")

    __iter__ = __len__ = __getitem__ = __bool__ = _refuse


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

    Arguments are those of ``packed_attention_op``, with what ``segment_tables`` makes in place of the tables
    of ``Segments``. Segments are padded to the longest.
    """
    index = table.clamp(min=0)
    q, k, v = (tensor[index].transpose(1, 2) for tensor in (query, key, value))
    mask = (table >= 0)[:, None, None, :]
    output = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    return output.transpose(1, 2).flatten(0, 1)[place]


class PackedInputs:
    """The inputs of a packed tower's graph behind the pixels.

    Args:
        tower: The tower.
        batch: A batch of it.

    Attributes:
        keys: What they are, in order.
        window: Squares along a side of a window, 0 if no block attends in windows.

    Raises:
        ExportError: If its layout takes more of the sizes of images than the runtime makes of them.
    """

    def __init__(self, tower: VisionTower, batch: Batch) -> None:
        side = tower.info.grid_multiple
        # Frames differ from clips, and columns from rows. No number of these gets into a graph.
        self._grids: tuple[Grid, ...] = ((2, 3 * side, 4 * side), (1, 2 * side, 5 * side))
        self._tower, self._batch = tower, copy.copy(batch)
        object.__setattr__(self._batch, "grids", self._grids)
        self.keys: list[Key] = []
        self.window = 0
        self._layout(self._noted, noting=True)

    @classmethod
    def of(cls, tower: VisionTower) -> PackedInputs | None:
        """Return the inputs of a tower; None if it packs no images."""
        batch = tower.blank()
        return None if batch.layout_key is None else cls(tower, batch)

    @property
    def names(self) -> list[str]:
        """What the inputs are called in a graph."""
        return [f"{name}.{side}" if side else name for name, side in self.keys]

    @property
    def described(self) -> dict[str, Any]:
        """What the runtime makes them of, as JSON-ready values."""
        return {"inputs": self.keys, "side": self._tower.info.grid_multiple, "window": self.window}

    def tensors(self, grids: Sequence[Grid]) -> list[Tensor]:
        """Return the inputs for images of these sizes, on the tower's device."""
        return [made.to(self._tower.device) for made in layout_tensors(grids, self.keys, self.window)]

    def layout(self, tensors: Sequence[Tensor]) -> Any:
        """Return the family's layout of these inputs."""
        given = dict(zip(self.keys, tensors, strict=True))
        made = self._layout(lambda name, side: given[name, side])
        object.__setattr__(made, "grids", HostGrids())
        return made

    def _layout(self, read: Read, *, noting: bool = False) -> Any:
        tower = self._tower
        with self._standing_in(read, noting):
            return tower.family.layout(tower.model, self._batch, tower.device, tower.dtype)

    def _noted(self, name: str, side: int) -> Tensor:
        if (name, side) not in self.keys:
            self.keys.append((name, side))
        return self.tensors(self._grids)[self.keys.index((name, side))]

    @contextmanager
    def _standing_in(self, read: Read, noting: bool) -> Iterator[None]:
        """Have the helpers of layouts read their results."""
        frames = [(h, w) for t, h, w in self._grids for _ in range(t)]
        segments = {
            tuple(h * w for h, w in frames): "frames",
            tuple(t * h * w for t, h, w in self._grids): "clips",
        }
        numbers = [frame for t, _, _ in self._grids for frame in range(t)]

        def patches(own: Any, grids: object, parcel: object, merge_size: int = 1) -> None:
            own.side = merge_size

        def windowed(own: Any, grids: object, parcel: object, *, merge_size: int, window: int) -> None:
            self.window, own.side, own.longest = window, merge_size, (window * merge_size) ** 2
            own.lengths = own  # segments of them are known by it

        def segmented(own: Any, lengths: Any, device: object = "cpu") -> None:
            in_windows = isinstance(lengths, WindowedPatches)
            of, side = ("windows", lengths.side) if in_windows else (segments.get(tuple(lengths)), 0)
            if of is None:
                raise ExportError("its layout: blocks attend neither to frames nor to whole images")
            own.groups, own.order = read(f"{of}.table", side), read(f"{of}.place", side)
            own.inverse, own.num_tokens = own.order, own.order.shape[0]

        def rope(own: Any, frequencies: Tensor, grids: object, parcel: object) -> None:
            own.frequencies = frequencies

        def taps(
            own: Any, grids: Any, parcel: Any, side: int, mode: Mode = "corners", stretch: float = 0.0
        ) -> None:
            def of(patches: Patches) -> tuple[Tensor, Tensor]:
                rows, weights = taps_at(patches.positions, read("sizes", 0), side, mode, stretch)
                return rows.long(), weights  # ONNX mixes no int32 with int64

            own._side, own._tables = side, SimpleNamespace(of=of)

        def sent(own: object, tensor: Tensor) -> Callable[[], Tensor]:
            if noting and tensor.tolist() != numbers:  # where it is traced, a tensor has no values
                raise ExportError("its layout takes more of the sizes of images than where patches are")
            return lambda: read("numbers", 0)

        stand_ins: dict[type, dict[str, Any]] = {
            Patches: {
                "__init__": patches,
                "positions": property(lambda own: read("positions", own.side)),
                "raster": property(lambda own: read("raster", own.side)),
                "frame": property(lambda own: read("frame", 0)),
            },
            WindowedPatches: {
                "__init__": windowed,
                "positions": property(lambda own: read("window_positions", own.side)),
                "index": property(lambda own: read("window_index", own.side)),
            },
            Segments: {"__init__": segmented, "make": lambda own: None},
            Rope: {"__init__": rope, "at": _rope_at},
            PositionTaps: {"__init__": taps},
            Parcel: {"add": sent},
        }
        with ExitStack() as stack:
            for helper, parts in stand_ins.items():
                stack.enter_context(patch.multiple(helper, **parts))
            yield


def _rope_at(own: Any, places: Tensor, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """Compute ``Rope.at`` for each patch, since how many places there are is no number of the graph."""
    frequencies = own.frequencies.to(places.device)
    angles = places[..., None] * frequencies  # (tokens, axes, head_size)
    # A feature's one number and zeros, so that the sum is exact.
    cosines, sines = (angles.cos() * (frequencies != 0)).sum(-2), angles.sin().sum(-2)
    return cosines.to(dtype or angles.dtype), sines.to(dtype or angles.dtype)
