"""Reading a tower's and a connector's weights out of a checkpoint, and writing them back."""

from __future__ import annotations

from .checkpoint import load_model
from .connector import fill, load_connector
from .saving import save_fused, save_tower
from .source import Checkpoint, local_folder, open_checkpoint

__all__ = [
    "Checkpoint",
    "fill",
    "load_connector",
    "load_model",
    "local_folder",
    "open_checkpoint",
    "save_fused",
    "save_tower",
]
