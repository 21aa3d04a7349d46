"""One image made ready for the encoder: decoded and resized, or the reason why it cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

from ..errors import ImageError
from ..images.decode import open_image
from ..images.reading import Arrays, Reader
from .inputs import Content, Row, load_row

Task: TypeAlias = "list[tuple[Row, Content | ImageError | None]]"
"""Images to prepare, with their content where it is known."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image that is ready.

    Attributes:
        size: Its width and height in pixels, upright.
        inputs: What was read of it, for ``finish`` of the preprocessor.
    """

    size: tuple[int, int]
    inputs: Arrays


def prepare(row: Row, content: Content | ImageError | None, reader: Reader) -> Prepared | ImageError:
    """Make one image ready.

    Args:
        row: The image.
        content: Its path, its bytes, or its error, where they are known already.
        reader: Does what needs the CPU.
    """
    try:
        if isinstance(content, ImageError):
            return content
        loaded = load_row(row) if content is None else content
        if isinstance(loaded, Iterator):
            first = next(loaded)
            return Prepared(first.size, reader.clip(chain([first], loaded), row.id))
        image = open_image(loaded, name=row.id)
        return Prepared(image.size, reader.opened(image, row.id))
    except ImageError as error:
        return ImageError(row.id, error.reason)
