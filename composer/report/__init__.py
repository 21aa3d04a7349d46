"""A look into an encoder: what it sees of images and makes of them, as one HTML page."""

from __future__ import annotations

from .inspecting import (
    InspectedImage,
    InspectedLayer,
    InspectedOutput,
    InspectedTower,
    Inspection,
    inspect_images,
)
from .writing import write_report

__all__ = [
    "InspectedImage",
    "InspectedLayer",
    "InspectedOutput",
    "InspectedTower",
    "Inspection",
    "inspect_images",
    "write_report",
]
