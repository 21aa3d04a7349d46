"""The digits that train and test ``tiny-digits``, and the one split that keeps those two apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from . import require

SPLIT = "sheets-1"
"""Name of the split below; stands in the metadata of weights that were trained on it."""

PARTS: dict[str, slice] = {
    "encoder": slice(0, 906),
    "probe_train": slice(906, 1287),
    "probe_test": slice(1287, 1797),
}
"""Rows of scikit-learn's digits: those that train the encoder, fit the probes, and are looked at last.

The file holds 14 sheets one after another, all with the same sequence of some 130 digits, each in one
hand. The parts are cut between sheets (7, 3 and 4 of them), so no sheet lends its handwriting to two
parts, and every part has its ten digits about equally often.
"""


def load_pixels() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Load the 1,797 digits of scikit-learn and their labels.

    Returns:
        Grey pixels ``(1797, 8, 8)`` from 0 (paper) to 255 (ink), and labels ``(1797,)`` from 0 to 9.

    Raises:
        MissingDependencyError: If scikit-learn is not installed.
    """
    digits = require("sklearn.datasets", "scikit-learn").load_digits()
    # 17 grey levels, 0 to 16; the encoder takes ordinary images.
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return pixels, digits.target.astype(np.int64)


def as_images(pixels: npt.NDArray[np.uint8]) -> list[Image.Image]:
    """Return RGB images of grey ``pixels`` ``(n, height, width)``."""
    return [Image.fromarray(grey).convert("RGB") for grey in pixels]
