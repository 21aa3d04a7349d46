"""Which images share a forward: decided by the images of a part alone, so that every run computes alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..images.preprocess import Read
from .inputs import Row

_WINDOW_BATCHES = 8
_WINDOW_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Limits:
    """How large a batch may be.

    Attributes:
        images: Images at most.
        tokens: Patches of all images together at most; an image of more is a batch of its own.
    """

    images: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Ready:
    """An image that waits for its forward.

    Attributes:
        number: Its number among all images of the job.
        row: What it is called.
        size: Its width and height in pixels.
        inputs: What was read of it.
        patches: About how many patches it has.
        num_bytes: Memory that it holds: its inputs, and room for its features.
    """

    number: int
    row: Row
    size: tuple[int, int]
    inputs: Read
    patches: int
    num_bytes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its pixels; of several towers' pixels, one after another."""
        pixels = (value for name, value in self.inputs.items() if name.endswith("pixel_values"))
        return tuple(side for array in pixels for side in array.shape)


def windows(images: Iterable[Ready], limits: Limits) -> Iterator[list[Ready]]:
    """Cut a part into windows: as many images as make a few batches, or fill the memory set aside."""
    window: list[Ready] = []
    num_bytes = 0
    for image in images:
        window.append(image)
        num_bytes += image.num_bytes
        if len(window) >= _WINDOW_BATCHES * limits.images or num_bytes >= _WINDOW_BYTES:
            yield window
            window, num_bytes = [], 0
    if window:
        yield window


def batches(
    window: Sequence[Ready],
    limits: Limits,
    share: Callable[[Read, Read], bool],
) -> Iterator[list[Ready]]:
    """Sort a window so that alike images come together, and cut it into batches.

    Args:
        window: Images.
        limits: How large a batch may be.
        share: Whether the inputs of two images can be in one batch.
    """
    batch: list[Ready] = []
    tokens = 0
    for image in sorted(window, key=lambda image: (-image.patches, image.shape, image.number)):
        more = image.patches
        full = len(batch) == limits.images or tokens + more > limits.tokens
        if batch and (full or not share(batch[0].inputs, image.inputs)):
            yield batch
            batch, tokens = [], 0
        batch.append(image)
        tokens += more
    if batch:
        yield batch
