"""A config of images that are cut, up to the rows that a language model reads."""

from __future__ import annotations

from .tilings import PINPOINTS
from .vlms.parts import CLIP

TILED = {
    "schema": 1,
    "name": "tiled",
    "encoder": CLIP | {"image_size": 16},
    "output": "embeds",
    "select_layers": [-2],
    "feature_select_strategy": "default",
    "tiling": {"type": "llava_next", "image_grid_pinpoints": PINPOINTS},
    "connector": {"type": "llava_next", "hidden_size": 64},
}
