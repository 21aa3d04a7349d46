"""Frames of a video that is among the images."""

from __future__ import annotations

import os
from pathlib import PurePath

from PIL import Image

from ..errors import ImageError, InputError
from ..jobs.inputs import videos

NUM_FRAMES = 8
"""How many frames are taken, from the middles of equal pieces of the video."""


def is_video(image: object) -> bool:
    """Whether an image is the path of a video, by its extension."""
    if not isinstance(image, (str, os.PathLike)):
        return False
    return PurePath(os.fsdecode(image)).suffix.lower() in videos.EXTENSIONS


def frames_of(path: str) -> list[tuple[float, Image.Image]]:
    """Return frames of a video, each with the second at which it is shown.

    Raises:
        ImageError: If it cannot be read.
        MissingDependencyError: If PyAV is not installed.
    """
    try:
        rows = list(videos.rows(path, fps=None, frames=NUM_FRAMES))
    except InputError as error:
        raise ImageError(path, str(error).removeprefix(f"{path}: ")) from error
    return [(float(row.id.rpartition("@")[2]), videos.load(row)) for row in rows]
