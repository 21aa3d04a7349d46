"""Pieces that tiny VLMs are made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TEXT = {
    "model_type": "llama",
    "hidden_size": 40,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 20,
    "vocab_size": 64,
}
"""A language model of one layer."""
CLIP = {
    "model_type": "clip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
"""A tower with a class token."""
SIDE = {"height": 32, "width": 32}
"""The size of their images, as image processors take it."""
SIGLIP = CLIP | {"model_type": "siglip_vision_model"}
"""A tower without one."""


class Values:
    """An image processor that is nothing but its JSON: transformers has it on torchvision only."""

    def __init__(self, name: str, **values: Any) -> None:
        self.values = {"image_processor_type": name, **values}

    def save_pretrained(self, folder: Path) -> None:
        (folder / "preprocessor_config.json").write_text(json.dumps(self.values))
