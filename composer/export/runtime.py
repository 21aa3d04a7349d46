"""Load an exported encoder and run it, with torch and Pillow alone.

Of the package, this imports the errors and what reads images; neither transformers nor pydantic.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..images.decode import ImageLike
from .files import Program, first_line, open_exported
from .preprocessing import Preprocessing

PIXELS, GRIDS = "pixel_values", "image_grid_thw"


def load(path: str | os.PathLike[str]) -> ExportedTower:
    """Load a file that ``export_encoder`` or ``vision-composer export`` wrote.

    A file is code: load only files from people you trust.

    Args:
        path: The file. The name of an ONNX file ends in ``.onnx``; the other formats are told by the content.

    Raises:
        ExportError: If there is no such file, it is no exported encoder, is broken, or needs a newer version.
        MissingDependencyError: If it is an ONNX file and onnxruntime is not installed.
    """
    program, metadata = open_exported(os.fspath(path))
    return ExportedTower(program, metadata)


class ExportedTower:
    """An exported encoder.

    Attributes:
        metadata: What the file says of itself: the encoder's config, versions, preprocessing, and how far
            its features were from the encoder's when it was exported.
    """

    def __init__(self, program: Program, metadata: Mapping[str, Any]) -> None:
        self.metadata = metadata
        self._program = program
        self._layout = Layout(metadata["layout"]) if metadata["layout"] else None
        self._preprocessing: Preprocessing | None = None

    def make_inputs(self, images: Sequence[ImageLike]) -> dict[str, Tensor]:
        """Turn images into inputs, as the encoder's ``preprocess`` does, to the bit.

        Args:
            images: Paths, PIL images, or uint8 arrays (height, width[, channels]).

        Returns:
            The inputs by name; pixels are float32.

        Raises:
            ImageError: If an image cannot be read; names it.
            InputError: If there are no images, they make no batch, or the encoder's preprocessing is none
                that can be done here.
        """
        if self._preprocessing is None:
            self._preprocessing = Preprocessing.of(self.metadata["preprocessing"])
        return self._preprocessing(images)

    def __call__(self, **inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Encode a batch, without gradients.

        Args:
            **inputs: ``pixel_values``, (images, channels, height, width). If the encoder packs images of
                different sizes: (patches, ...), image after image, and ``image_grid_thw`` (images, 3),
                frames, rows and columns of patches.

        Returns:
            What the encoder returns: (images, tokens, width), or one (tokens, width) tensor for each image.

        Raises:
            InputError: If inputs are missing, unknown, or not of the shapes that the graph takes.
        """
        known = (PIXELS,) if self._layout is None else (PIXELS, GRIDS)
        if sorted(inputs) != sorted(known):
            given = ", ".join(sorted(inputs)) or "nothing"
            raise InputError(f"this exported encoder takes {' and '.join(known)}, not {given}")
        pixels = inputs[PIXELS].to(device=self.metadata["device"], dtype=torch.float32)
        shape = self.metadata["pixels"]
        if pixels.dim() != len(shape) or any(
            n not in (None, m) for n, m in zip(shape, pixels.shape, strict=True)
        ):
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise InputError(f"{PIXELS} must be ({wanted}), not {tuple(pixels.shape)}")
        if not len(pixels):
            raise InputError(f"{PIXELS} hold no image")
        if self._layout is None:
            features = self._run(pixels)
            return features.unbind() if self.metadata["per_image"] else features
        grids = self._layout.read(inputs[GRIDS], len(pixels))
        tables = [table.to(pixels.device) for table in self._layout(grids)]
        features = self._run(pixels, *tables)
        parts = torch.split(features, [self._layout.num_rows(grid) for grid in grids], dim=-2)
        return tuple(part.contiguous() for part in parts)

    def _run(self, *tensors: Tensor) -> Tensor:
        try:
            with torch.no_grad():
                return self._program(*tensors)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # onnxruntime's have no class of their own
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
            raise InputError(f"the graph does not take tensors of {shapes}: {first_line(error)}") from error


Grid = tuple[int, int, int]
Key = tuple[str, int]
"""Names a tensor of a layout: what it is, and the side of the squares by which patches are grouped, or 0."""


class Layout:
    """Makes the tensors of a batch that follow from the sizes of its images, for a graph that packs them.

    Args:
        metadata: ``inputs``, the keys of the tensors in order, and what sizes the encoder takes.
    """

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self.inputs: list[Key] = [(name, side) for name, side in metadata["inputs"]]
        self._side: int = metadata["side"]
        self._frames: int | None = metadata["max_frames"]
        self._rows: tuple[int, int] = tuple(metadata["rows"])
        self._window: int = metadata["window"]

    def read(self, value: Tensor, num_patches: int) -> list[Grid]:
        """Check grids and return them as numbers.

        Raises:
            InputError: If they are none, or do not fit the pixels.
        """
        if value.dim() != 2 or value.shape[1] != 3 or value.is_floating_point():
            raise InputError(f"{GRIDS} must be integers (images, 3), not {value.dtype} {tuple(value.shape)}")
        grids: list[Grid] = [(t, h, w) for t, h, w in value.tolist()]
        for i, (frames, rows, columns) in enumerate(grids):
            if min(frames, rows, columns) < 1 or rows % self._side or columns % self._side:
                raise InputError(
                    f"{GRIDS}[{i}] is {frames, rows, columns}; all must be at least 1, rows and columns "
                    f"multiples of {self._side}"
                )
            if self._frames is not None and frames > self._frames:
                raise InputError(f"{GRIDS}[{i}] has {frames} frames; this export takes {self._frames}")
        total = sum(t * h * w for t, h, w in grids)
        if total != num_patches:
            raise InputError(f"{GRIDS} stands for {total} patches, but {PIXELS} has {num_patches}")
        return grids

    def num_rows(self, grid: Grid) -> int:
        """Count the output rows of an image."""
        per_image, patches_per_row = self._rows
        frames, rows, columns = grid
        return per_image or frames * rows * columns // patches_per_row

    def __call__(self, grids: Sequence[Grid]) -> list[Tensor]:
        """Return the graph's inputs beside the pixels."""
        return layout_tensors(grids, self.inputs, self._window)


def layout_tensors(grids: Sequence[Grid], keys: Sequence[Key], window: int) -> list[Tensor]:
    """Make tensors of a layout.

    Args:
        grids: Frames, rows and columns of patches of every image.
        keys: The tensors, all int64. Of each patch: ``positions`` and ``window_positions`` (tokens, 2), its
            row and column in the frame, in the order of the sequence or of the windows; ``raster``, its place
            if frames were in raster order; ``frame``, counted through all images; ``sizes`` (tokens, 2), rows
            and columns of the frame. ``numbers`` of frames, counted inside each image. ``window_index``, the
            square at each place in the order of windows. ``frames``, ``clips`` or ``windows`` with ``.table``
            or ``.place``, see ``segment_tables``.
        window: Squares along a side of a window; those at the edges may be smaller. 0 without windows.
    """
    made: dict[Key, Tensor] = {}
    for key in keys:
        if key not in made:
            made |= _made(grids, key, window)
    return [made[key] for key in keys]


def _made(grids: Sequence[Grid], key: Key, window: int) -> dict[Key, Tensor]:
    """Make a tensor of a layout, and what comes with it."""
    (name, side), (of, _, part) = key, key[0].partition(".")
    frames = [(h, w) for t, h, w in grids for _ in range(t)]
    areas = torch.tensor([h * w for h, w in frames])
    if name == "numbers":
        numbers = [frame for t, _, _ in grids for frame in range(t)]
        return {key: torch.tensor(numbers)}
    if name in ("frame", "sizes"):
        rows = torch.tensor(frames) if name == "sizes" else torch.arange(len(frames))
        return {key: rows.repeat_interleave(areas, dim=0)}
    if part:
        lengths = {"frames": areas.tolist(), "clips": [t * h * w for t, h, w in grids]}
        if of == "windows":
            lengths[of] = window_order(frames, side, window)[1]
        table, place = segment_tables(lengths[of])
        return {(f"{of}.table", side): table, (f"{of}.place", side): place}
    if name == "window_index":
        return {key: window_order(frames, side, window)[0]}
    inside = [_in_squares(h, w, side) for h, w in frames]
    if name == "raster":
        starts = (areas.cumsum(0) - areas).tolist()
        return {key: torch.cat([own + start for own, start in zip(inside, starts, strict=True)])}
    places = [torch.stack([own // w, own % w], dim=1) for own, (_, w) in zip(inside, frames, strict=True)]
    positions = torch.cat(places)
    if name == "window_positions":
        order, _ = window_order(frames, side, window)
        positions = positions.view(len(order), -1, 2)[order].flatten(0, 1)
    return {key: positions}


def _in_squares(rows: int, columns: int, side: int) -> Tensor:
    """Return the place in raster order of each patch of a frame whose patches are grouped by squares."""
    places = torch.arange(rows * columns).view(rows // side, side, columns // side, side)
    return places.transpose(1, 2).flatten()


def window_order(frames: Sequence[tuple[int, int]], side: int, window: int) -> tuple[Tensor, list[int]]:
    """Sort squares of ``side`` x ``side`` patches into windows of ``window`` x ``window`` squares.

    Args:
        frames: Rows and columns of patches.
        side: Patches along a side of a square.
        window: Squares along a side of a window; those at the edges may be smaller.

    Returns:
        The square at each place, int64, and the number of patches in each window.
    """
    pieces: list[Tensor] = []
    start = 0
    for rows, columns in frames:
        down, across = rows // side, columns // side
        squares = torch.arange(start, start + down * across).view(down, across)
        bands = torch.split(squares, window)
        pieces += [piece.flatten() for band in bands for piece in torch.split(band, window, dim=1)]
        start += down * across
    return torch.cat(pieces), [len(piece) * side**2 for piece in pieces]


def segment_tables(lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the tables by which a graph attends inside segments.

    Returns:
        The tokens of each segment, (segments, longest), -1 behind a shorter one; and where each token stands
        among them when they are flattened, (tokens,); both int64.
    """
    sizes = torch.tensor(lengths)
    columns = torch.arange(max(lengths))
    table = (sizes.cumsum(0) - sizes)[:, None] + columns
    filled = columns < sizes[:, None]
    return table.masked_fill(~filled, -1), filled.flatten().nonzero().flatten()
