"""An encoder as a graph: tensors in, one tensor out, for batches of any number and size of images."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ..attention.packed_op import packed_attention_op
from ..connectors.base import Connector, GridConnector, TileConnector
from ..encoders.batch import Batch
from ..errors import ExportError
from ..tower.half import VisionHalf
from ..tower.module import VisionTower
from .files import first_line
from .layouts import HostGrids, PackedInputs, attend

Tensors: TypeAlias = tuple[Tensor, ...]


class Graph(nn.Module):
    """What is traced: a tower, and the connector behind it.

    Args:
        vision: The tower, or the half around it.
        batch: A batch of its tower, whose pixels the graph's first input replaces.
        packed: The other inputs, if the tower packs images.
    """

    def __init__(self, vision: VisionTower | VisionHalf, batch: Batch, packed: PackedInputs | None) -> None:
        super().__init__()
        self.model = vision.tower.model
        self.projector = vision.connector_module
        self._vision, self._batch, self._packed = (vision,), batch, packed

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the features of all images, before they are split."""
        pixels, *tables = tensors
        (vision,) = self._vision
        tower = vision.tower
        batch = _with_pixels(self._batch, pixels).to(tower.device, tower.dtype)
        features = tower.features(batch, self._packed and self._packed.layout(tables))
        if isinstance(vision, VisionTower) or vision.connector is None:
            return features
        assert self.projector is not None
        return _connected(vision.connector, self.projector, features)


def _with_pixels(batch: Batch, pixels: Tensor) -> Batch:
    """Return a batch with other pixels, and without grids where it holds them."""
    made = copy(batch)
    object.__setattr__(made, "pixels", pixels)
    if "grids" in vars(batch):
        object.__setattr__(made, "grids", HostGrids())
    return made


def _connected(connector: Connector[Any], module: nn.Module, features: Tensor) -> Tensor:
    """Run the connector on the tokens of all images at once.

    Raises:
        ExportError: If it does more with an image than that.
    """
    if isinstance(connector, TileConnector) and type(connector).join is TileConnector.join:
        return connector.project(module, features)
    if isinstance(connector, GridConnector):
        grids: Any = HostGrids()
        rows = connector.project(module, features.flatten(0, -2), grids)
        return rows if features.dim() == 2 else rows.view(features.shape[0], -1, rows.shape[-1])
    raise ExportError(f"its connector, {connector.type}, puts the tokens of each image together by itself")


def trace(
    vision: VisionTower | VisionHalf,
    batch: Batch,
    examples: Sequence[Tensors],
    packed: PackedInputs | None = None,
    *,
    strict: bool,
) -> ExportedProgram:
    """Trace the graph of an encoder.

    Args:
        vision: What runs batches.
        batch: The batch of the first example.
        examples: The graph's inputs for several batches. An axis on which any two differ is dynamic.
        packed: What the inputs behind the pixels are, if the tower packs images.
        strict: Whether dynamo reads the bytecode, which takes longer and sees more, or the code just runs.

    Raises:
        ExportError: If the graph would be of one batch, or torch cannot trace the encoder.
    """
    dynamic = tuple(
        {axis: Dim.DYNAMIC for axis in range(same[0].dim()) if len({each.shape[axis] for each in same}) > 1}
        for same in zip(*examples, strict=True)
    )
    graph = Graph(vision, batch, packed).eval()
    try:
        with torch.no_grad(), quietly():
            program = torch.export.export(graph, examples[0], dynamic_shapes=(dynamic,), strict=strict)
            if packed is not None:
                program = program.run_decompositions({packed_attention_op._opoverload: attend})
    except ExportError:
        raise
    except Exception as error:  # tracing raises whatever the traced code does, and much of torch's own
        if isinstance(cause := _cause(error), ExportError):
            raise cause from error
        raise ExportError(f"torch.export cannot trace it: {first_line(error)}") from error
    return program


def _cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None and not isinstance(error, ExportError):
        error = error.__cause__
    return error


@contextmanager
def quietly() -> Iterator[None]:
    """Keep torch from logging the stack of what it cannot trace, since the error says it."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
