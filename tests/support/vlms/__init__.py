"""Tiny random VLMs of every kind, saved by transformers with their image processors: one file each group.

A module here has ``VLMS``: the name of a case, which begins with the VLM's model_type, -> a function that
makes the model and its image processor.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import torch

from ..tiny import scramble

Maker = Callable[[], tuple[Any, Any]]
"""Makes a random VLM and its image processor."""


def _all() -> dict[str, Maker]:
    found: dict[str, Maker] = {}
    for beside in iter_modules(__path__):
        found |= getattr(import_module(f"{__name__}.{beside.name}"), "VLMS", {})
    return found


VLMS = _all()


def save_vlm(name: str, folder: Path) -> Path:
    """Save a tiny VLM and its image processor into a folder, as a hub's repository has them."""
    torch.manual_seed(0)
    model, processor = VLMS[name]()
    scramble(model).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
