"""Tiny towers that are fused, and each of them alone: the truth of the tests of several towers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from support import tiny
from support.images import noise_image
from vision_composer import compose

DINO = {"encoder": tiny.ENCODERS["dinov2"], "select_layers": [-2], "feature_select_strategy": "default"}
SIGLIP = {
    "encoder": tiny.ENCODERS["siglip_vision_model"] | {"patch_size": 4},
    "image_processor": {"mean": [0.5, 0.4, 0.3], "std": [0.3, 0.3, 0.3]},
}
CLIP = {
    "encoder": tiny.ENCODERS["clip_vision_model"],
    "select_layers": [-1, 1],
    "feature_select_strategy": "default",
}
TOWERS = {"dino": DINO, "siglip": SIGLIP}
"""Two towers of one width: grids of 4x4 and of 8x8."""
IMAGES = [noise_image(*size) for size in ((40, 50), (75, 33), (20, 21))]


def config(towers: dict[str, Any] = TOWERS, **keys: Any) -> dict[str, Any]:
    return {"schema": 1, "towers": towers, **keys}


def composed(towers: dict[str, Any] = TOWERS, **keys: Any) -> Any:
    """The towers fused, every parameter random."""
    torch.manual_seed(0)
    return tiny.scramble(compose(config(towers, **keys)))


def alone(fused: Any) -> dict[str, Any]:
    """Each tower of a fused encoder composed by itself, with the same weights."""
    found = {}
    for name, tower in fused.config.towers_by_name.items():
        found[name] = compose(tower)
        found[name].model.load_state_dict(fused.towers[name].state_dict())
    return found


def aligned(tokens: Tensor, side: int, grid: Sequence[int], mode: str, align_corners: bool) -> Tensor:
    """Tokens (images, side x side, width) at another grid, by torch and by hand."""
    cells = tokens.transpose(1, 2).unflatten(2, (side, side))
    corners = None if mode == "nearest" else align_corners
    made = F.interpolate(cells, size=tuple(grid), mode=mode, align_corners=corners)
    return made.flatten(2).transpose(1, 2)
