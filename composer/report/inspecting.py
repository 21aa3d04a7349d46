"""Looks into an encoder with images: what it sees, its hidden states, and how its tokens are counted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from math import prod
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from ..connectors import ImageOfTiles
from ..encoders.batch import Batch
from ..encoders.facts import Grid
from ..errors import ImageError, InputError
from ..fusion.module import FusedBatch
from ..images.decode import Clip, ImageLike, image_name, open_image
from ..images.tiling import TilePlan
from ..planning import AnyPlan, FusedPlan, Plan
from ..running.finite import NOT_FINITE, not_finite
from ..tower.half import TiledBatch
from ..tower.rows import OutputRows
from ..vision_encoder import VisionEncoder
from .analysis import Components, Norms, colours, linear_cka, principal_components, spread
from .counting import Reckoning, Size, reckoned, reckoned_fused
from .frames import frames_of, is_video
from .pixels import Picture, PixelReader
from .states import StateTokens, hidden_states
from .views import View, views_of


@dataclass(frozen=True)
class InspectedLayer:
    """One hidden state of an image.

    Attributes:
        index: Its number; 0 is the input of the first block.
        read: Whether the encoder reads it.
        maps: The first three principal components of every plane's patches as colours, uint8 (rows, columns,
            3).
        explained: Which part of the variance of the patches each component has.
        norms: Norms of the tokens.
    """

    index: int
    read: bool
    maps: tuple[Picture, ...]
    explained: tuple[float, ...]
    norms: Norms


@dataclass(frozen=True)
class InspectedTower:
    """What one tower makes of an image.

    Attributes:
        views: How the planes that it sees lie: tiles, or frames.
        planes: What it sees, one picture for every tile or frame.
        layers: Hidden state 0 and those behind every block that is built.
        similarity: Linear CKA of every two of them, (layers, layers); NaN where it is not defined.
        num_compared: On how many patches that was measured.
    """

    views: tuple[View, ...]
    planes: tuple[Picture, ...]
    layers: tuple[InspectedLayer, ...]
    similarity: npt.NDArray[Any]
    num_compared: int


@dataclass(frozen=True)
class InspectedOutput:
    """What comes out for an image.

    Attributes:
        num_rows: Rows of the output.
        width: Features of a row.
        maps: The first three principal components as colours, for every frame, if rows stand in the plane of
            the image; else nothing.
        explained: Which part of the variance each has.
    """

    num_rows: int
    width: int
    maps: tuple[Picture, ...] = ()
    explained: tuple[float, ...] = ()


@dataclass(frozen=True)
class InspectedImage:
    """An image, and what the encoder makes of it.

    Attributes:
        name: Its file's name, or its number.
        size: Its size as it comes.
        towers: What every tower makes of it, by name, which is empty where there is one tower.
        output: What comes out.
        reckonings: How its rows are counted.
    """

    name: str
    size: Size
    towers: Mapping[str, InspectedTower]
    output: InspectedOutput
    reckonings: tuple[Reckoning, ...]


@dataclass(frozen=True)
class Inspection:
    """An encoder and the images that were looked at.

    Attributes:
        plan: The encoder's plan.
        images: Those that could be encoded, in order.
        failures: Why the others could not.
    """

    plan: AnyPlan
    images: tuple[InspectedImage, ...]
    failures: tuple[ImageError, ...] = ()


def inspect_images(encoder: VisionEncoder, images: Sequence[ImageLike | Clip]) -> Inspection:
    """Look into an encoder with images.

    Every image takes two forwards: one for all hidden states of the blocks that are built, one for the
    output.

    Args:
        encoder: The encoder.
        images: Paths, PIL images, or uint8 arrays (height, width[, channels]); clips as lists of these; or
            paths of videos, of which 8 frames are taken, as a clip or else one by one.

    Returns:
        The inspection. Images that cannot be read, or whose features are not finite, are among its failures.

    Raises:
        InputError: If there are no images, they are no list, or none can be read.
        MissingDependencyError: If there is a video, and PyAV is not installed.
    """
    if isinstance(images, (str, os.PathLike, np.ndarray, Image.Image)):
        raise InputError("expected a list of images; for one image write [image]")
    if len(images) == 0:
        raise InputError("no images to inspect")
    found, failures = [], []
    with encoder.evaluating():
        inspector = _Inspector(encoder)
        for i, image in enumerate(images):
            name = image_name(image, f"image {i}")
            try:
                found += inspector.inspect(name, image)
            except ImageError as error:
                failures.append(error)
    if not found:
        reasons = "; ".join(map(str, failures))
        raise InputError(f"no image could be read: {reasons}")
    return Inspection(encoder.plan, tuple(found), tuple(failures))


class _Inspector:
    """Inspects one image after the other.

    Args:
        encoder: The encoder.
    """

    def __init__(self, encoder: VisionEncoder) -> None:
        self.encoder = encoder
        self.towers = encoder.vision.parts
        self.readers = {
            name: PixelReader.of(tower.info, partial(self._batch_of, name))
            for name, tower in self.towers.items()
        }

    def inspect(self, name: str, image: ImageLike | Clip) -> list[InspectedImage]:
        """Inspect an image, or the frames of a video for an encoder that takes no clips."""
        short = PurePath(name).name or name
        if not is_video(image):
            opened = _opened(name, image)
            return [self._inspect(short, name, opened)]
        frames = frames_of(name)
        if self.encoder.preprocessor.takes_clips:
            return [self._inspect(short, name, [frame for _, frame in frames])]
        return [self._inspect(f"{short}, {at:.2f} s", name, frame) for at, frame in frames]

    def _inspect(self, name: str, path: str, image: Image.Image | list[Image.Image]) -> InspectedImage:
        preprocessor = self.encoder.preprocessor
        if isinstance(image, list):
            read, first, frames = preprocessor.reader.clip(image, path), image[0], len(image)
        else:
            read, first, frames = preprocessor.reader.opened(image, path), image, 1
        inputs = preprocessor.finish([read], self.encoder.device)
        batch = self.encoder.vision.read(inputs)
        output = self.encoder.vision(batch)
        if not_finite(output):
            raise ImageError(path, NOT_FINITE)
        size = Size(*first.size, frames)
        whole = _image_of_tiles(batch)
        towers = {
            tower: self._tower(tower, part, whole, size) for tower, part in self._batches(batch).items()
        }
        plan = self.encoder.plan
        if isinstance(plan, FusedPlan):
            assert isinstance(batch, FusedBatch)
            grids = batch.grids_of(0)
            grid, reckonings = _grid_of_fused(plan, grids), reckoned_fused(plan, size, grids)
        else:
            grid, reckonings = _grid_of_rows(plan, whole), [reckoned(plan, size, whole)]
        return InspectedImage(name, size, towers, _output(output[0], grid), tuple(reckonings))

    def _tower(self, name: str, batch: Batch, image: ImageOfTiles, size: Size) -> InspectedTower:
        tower = self.towers[name]
        states = hidden_states(tower, batch)
        info, planes = tower.info, self.readers[name].planes(batch)
        resized = info.resized(size.width, size.height)
        views = views_of(image.tiles, batch.grids, info, resized, size.frames)
        layers, before = [], None
        for index, state in enumerate(states):
            components = principal_components(state.all_patches, before)
            before = components.scores
            layers.append(self._layer(name, index, state, components, batch.grids))
        kept = spread(len(states[0].all_patches))
        similarity = linear_cka([state.all_patches[kept] for state in states])
        return InspectedTower(tuple(views), tuple(planes), tuple(layers), similarity, len(kept))

    def _layer(
        self, name: str, index: int, state: StateTokens, components: Components, grids: Sequence[Grid]
    ) -> InspectedLayer:
        shapes = [(rows, columns) for frames, rows, columns in grids for _ in range(frames)]
        return InspectedLayer(
            index,
            index in self.towers[name].readout.keep,
            _maps(components, shapes),
            components.explained,
            Norms.of(state.all_patches, state.others),
        )

    def _batch_of(self, name: str, image: Image.Image) -> Batch:
        """Return a tower's batch of an image."""
        preprocessor = self.encoder.preprocessor
        read = preprocessor.reader.opened(image, "an image of one colour")
        inputs = preprocessor.finish([read], self.encoder.device)
        return self._batches(self.encoder.vision.read(inputs))[name]

    def _batches(self, batch: object) -> dict[str, Batch]:
        """Return the batch of every tower."""
        if isinstance(batch, FusedBatch):
            return dict(zip(self.towers, batch.parts, strict=True))
        assert isinstance(batch, Batch | TiledBatch)
        return {"": batch.tiles if isinstance(batch, TiledBatch) else batch}


def _opened(name: str, image: ImageLike | Clip) -> Image.Image | list[Image.Image]:
    if isinstance(image, (list, tuple, Iterator)):
        return [open_image(frame, name=image_name(frame, name)) for frame in image]
    return open_image(image, name=name)


def _image_of_tiles(batch: object) -> ImageOfTiles:
    """Return the one image of a batch as a connector sees it; of several towers, the first one's."""
    if isinstance(batch, TiledBatch):
        return batch.images[0]
    part = batch.parts[0] if isinstance(batch, FusedBatch) else batch
    assert isinstance(part, Batch)
    return ImageOfTiles(TilePlan(), part.grids[0])


def _grid_of_rows(plan: Plan, image: ImageOfTiles) -> Grid | None:
    """Return frames, rows and columns of an image's rows before a reduction; None if they have no plane."""
    behind = plan.readout if plan.connector is None else plan.connector
    if image.tiles.num_tiles > 1 or not behind.planar:
        return None
    return OutputRows(plan.readout, plan.connector).grid(image)


def _grid_of_fused(plan: FusedPlan, grids: Sequence[Grid]) -> Grid | None:
    """Return the same of several towers, given the image's grid of patches in each."""
    if plan.fusion.fuse == "sequence":
        return None
    grid = plan.fusion.grid_of(grids)
    if plan.connector is None:
        return grid
    return plan.connector.row_grid(grid) if plan.connector.planar else None


def _output(rows: Tensor, grid: Grid | None) -> InspectedOutput:
    """Look at the output of an image, ([levels,] rows, width)."""
    num_rows, width = rows.shape[-2:]
    if grid is None or prod(grid) != num_rows or num_rows == 1:  # a reduction left fewer
        return InspectedOutput(num_rows, width)
    components = principal_components(rows.reshape(-1, num_rows, width)[0].float().cpu().numpy())
    maps = _maps(components, [grid[1:]] * grid[0])
    return InspectedOutput(num_rows, width, maps, components.explained)


def _maps(components: Components, shapes: Sequence[tuple[int, int]]) -> tuple[Picture, ...]:
    """Return components as colours in planes of (rows, columns), one after the other."""
    coloured = colours(components.scores)
    ends = list(accumulate(rows * columns for rows, columns in shapes))
    parts = np.split(coloured, ends[:-1])
    return tuple(part.reshape(*shape, 3) for part, shape in zip(parts, shapes, strict=True))
