"""What timm and open_clip do to images, as ``image_processor``: CLIP's processor does the same."""

from __future__ import annotations

from typing import Any

from .fields import Fields

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
OPENAI = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])


def image_processor(
    said: Fields, default: tuple[list[float], list[float]], *, scale: int, side: int, squash: bool
) -> dict[str, Any]:
    """Return ``image_processor`` of a config.

    Args:
        said: The library's values: mean, std and interpolation.
        default: Mean and deviation where they are missing.
        scale: The side in pixels that images are resized to, the shorter one unless ``squash``.
        side: The side of the square that is cut out of that.
        squash: Whether both sides are resized to ``scale``.
    """
    mean, std = (said.values.get(key) or value for key, value in zip(("mean", "std"), default, strict=True))
    return {
        "type": "CLIPImageProcessor",
        "size": {"height": scale, "width": scale} if squash else {"shortest_edge": scale},
        "crop": side,
        "resample": said.text("interpolation", "bicubic"),
        "mean": mean,
        "std": std,
    }
