"""Reading a tower's and a connector's weights out of a checkpoint, and writing them back."""

from __future__ import annotations

from .checkpoint import load_model
from .connector import fill, load_connector
from .quantised import plain_tensors, read_scales, stored_dtype
from .saving import save_fused, save_tower
from .source import Checkpoint, local_folder, open_checkpoint

__all__ = [
    "Checkpoint",
    "fill",
    "load_connector",
    "load_model",
    "local_folder",
    "open_checkpoint",
    "plain_tensors",
    "read_scales",
    "save_fused",
    "save_tower",
    "stored_dtype",
]
