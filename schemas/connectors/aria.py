"""Aria's connector: ``AriaProjector`` of transformers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..encoders.base import Rows
from .base import ConnectorConfig

_Pair = Annotated[tuple[Rows, Rows], Field(strict=False)]


class AriaConnectorConfig(ConnectorConfig):
    """Learned queries that attend to an image once: as many as its padded square has rows for."""

    type: Literal["aria"]
    patch_to_query: Annotated[
        tuple[_Pair, ...],
        Field(strict=False, min_length=1, max_length=256, examples=[[[1225, 128], [4900, 256]]]),
    ] = ((1225, 128), (4900, 256))
    """Patches of a padded square, and the queries that read it: projector_patch_to_query_dict in
    transformers."""
