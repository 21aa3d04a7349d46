"""Images with labels: a folder for each class, or the digits that come with scikit-learn. Loads no torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..demo.digits import PARTS, as_images, load_pixels
from ..errors import InputError
from ..images.decode import ImageLike
from ..jobs.inputs.files import Files


@dataclass(frozen=True)
class Labelled:
    """Images and what they show.

    Attributes:
        images: Paths or images.
        labels: The class of each.
        held_out: Whether each is kept for judging; None to draw some by chance.
    """

    images: Sequence[ImageLike]
    labels: Sequence[str]
    held_out: Sequence[bool] | None = None


def load_folder(folder: str | os.PathLike[str]) -> Labelled:
    """Find the images of a folder that has a folder for each class, searched to any depth.

    Images beside these folders, and folders whose names begin with a dot, are left out.

    Raises:
        InputError: If it is no folder, has no folders, or one of these has no images.
    """
    root = Path(os.path.expanduser(folder))
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; name a folder with a folder of images for each class")
    classes = sorted(each.name for each in root.iterdir() if each.is_dir() and each.name[0] != ".")
    if not classes:
        raise InputError(f"{root}: has no folders in it; put the images of each class into one of its own")
    images: list[ImageLike] = []
    labels: list[str] = []
    for name in classes:
        found = list(Files().paths(str(root / name)))
        if not found:
            raise InputError(
                f"{root / name}: has no images; remove the folder, or put those of a class into it"
            )
        images += found
        labels += [name] * len(found)
    return Labelled(images, labels)


def load_digits() -> Labelled:
    """Load the handwritten digits that ``tiny-digits`` was not trained on, with the demo's split.

    Raises:
        MissingDependencyError: If scikit-learn is not installed.
    """
    pixels, digits = load_pixels()
    fit, judge = PARTS["probe_train"], PARTS["probe_test"]
    rows = np.r_[fit, judge]
    held_out = np.repeat([False, True], [fit.stop - fit.start, judge.stop - judge.start])
    return Labelled(as_images(pixels[rows]), [str(digit) for digit in digits[rows]], held_out.tolist())
