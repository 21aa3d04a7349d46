"""What a pipeline is given to do: images that go into one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .encoded import Failed
from .inputs import Row
from .writers import FeatureFile


@dataclass(frozen=True)
class Unit:
    """Images that go into one file.

    Attributes:
        number: Tells units apart.
        images: The images, with their numbers among all images of the job.
        open: Begins the file.
        close: Finishes and publishes it, given the images that failed, in order.
    """

    number: int
    images: Sequence[tuple[int, Row]]
    open: Callable[[], FeatureFile]
    close: Callable[[FeatureFile, list[Failed]], None]
