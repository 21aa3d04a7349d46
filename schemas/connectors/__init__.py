"""The connectors' config blocks, one file each. The connector of the same name runs it in ``composer``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from ..typed import blocks_beside, typed_block
from .base import ConnectorConfig

CONNECTOR_CONFIGS = blocks_beside(__name__, __path__, ConnectorConfig)
"""type -> its config block."""


def connector_config(data: object) -> ConnectorConfig:
    """The config block of the connector that ``data["type"]`` names.

    Raises:
        pydantic.ValidationError: If the type is missing or unknown, or its class refuses the block.
    """
    return typed_block(data, CONNECTOR_CONFIGS, ConnectorConfig, "connector")


AnyConnectorConfig = Annotated[
    ConnectorConfig,
    PlainValidator(connector_config),
    PlainSerializer(
        lambda block: block.model_dump(mode="json", exclude_unset=True), return_type=dict[str, Any]
    ),
    WithJsonSchema({"type": "object"}),  # the real one, by type, is made in json_schema.py
]

__all__ = ["CONNECTOR_CONFIGS", "AnyConnectorConfig", "ConnectorConfig", "connector_config"]
