"""Checkpoints of a tiny tower: changed on disk, loaded, and what the tower makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from support import tiny
from vision_composer import compose
from vision_composer.weights.staging import Staging

ENCODER = tiny.ENCODERS["clip_vision_model"]
POSITIONS = "embeddings.position_embedding.weight"
"""A tensor that every tower of it needs."""
HOST = Staging(torch.device("cpu"))
"""What tensors pass that stay on the CPU."""

Tensors = dict[str, torch.Tensor]


class Folders(dict[str, Path]):
    """Folders of tiny checkpoints by the encoders' names, each saved when a test first asks for it."""

    def __init__(self, root: Path, reference: Callable[[str], Any]) -> None:
        super().__init__()
        self._root, self._reference = root, reference

    def __missing__(self, name: str) -> Path:
        self[name] = tiny.save(self._reference(name), self._root / name.replace("/", "-"))
        return self[name]


def load(source: Path | str, encoder: dict[str, Any] = ENCODER, **keys: Any) -> Any:
    """The tower of the last hidden state but one, with the weights of ``source``."""
    weights = {"source": str(source), **keys.pop("weights", {})}
    return compose({"schema": 1, "encoder": encoder, "weights": weights, "select_layers": [-2], **keys})


def features(tower: Any) -> torch.Tensor:
    """What a tower of ``ENCODER`` makes of the same pixels every time."""
    with torch.no_grad():
        made: torch.Tensor = tower(pixel_values=tiny.pixels(ENCODER))
        return made


def rewrite(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    """Change the tensors of a folder's only file."""
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors), folder / "model.safetensors")
