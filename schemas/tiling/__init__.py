"""The config blocks of the ways to cut an image into tiles, one file each, and twins of ``composer``'s."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from ..typed import blocks_beside, typed_block
from .base import TilingConfig

TILING_CONFIGS = blocks_beside(__name__, __path__, TilingConfig)
"""type -> its config block."""


def tiling_config(data: object) -> object:
    """The config block of the tiling that ``data["type"]`` names; ``none`` stays what it is.

    Raises:
        pydantic.ValidationError: If the type is missing or unknown, or its class refuses the block.
    """
    return data if data == "none" else typed_block(data, TILING_CONFIGS, TilingConfig, "tiling")


AnyTilingConfig = Annotated[
    Literal["none"] | TilingConfig,
    PlainValidator(tiling_config),
    PlainSerializer(
        lambda block: block if isinstance(block, str) else block.model_dump(mode="json", exclude_unset=True),
        return_type=Any,
    ),
    WithJsonSchema({}),  # the real one, by type, is made in json_schema.py
]

__all__ = ["TILING_CONFIGS", "AnyTilingConfig", "TilingConfig", "tiling_config"]
