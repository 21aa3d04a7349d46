"""The connectors, one file each. Loads no torch.

A connector is two files of one name: its config block in ``vision_composer.schemas.connectors``, and here a
subclass of ``Connector`` with a ``type`` of its own. Nothing lists the files: they are found by their names.
"""

from __future__ import annotations

from ..schemas.connectors import CONNECTOR_CONFIGS, ConnectorConfig
from ..typed import classes_by_type
from .base import AnyConnector, Connector, ImageOfTiles, TowerOutput

CONNECTORS: dict[str, type[AnyConnector]] = classes_by_type(__name__, CONNECTOR_CONFIGS, Connector)
"""type -> connector."""


def connector_of(config: ConnectorConfig, tower: TowerOutput) -> AnyConnector:
    """Return the connector of a config block, behind a tower that gives ``tower``."""
    return CONNECTORS[config.type](config, tower)


__all__ = ["CONNECTORS", "AnyConnector", "Connector", "ImageOfTiles", "TowerOutput", "connector_of"]
