"""One image made ready for the encoder: decoded and resized, or the reason why it cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

from ..errors import ImageError
from ..images.decode import Clip, ImageLike, open_image
from .inputs import Content, Row, load_row

if TYPE_CHECKING:
    from torch import Tensor

Read: TypeAlias = "Callable[[Sequence[ImageLike | Clip]], Sequence[Mapping[str, Tensor]]]"
"""The ``read`` of an ImagePreprocessor, or a function like it."""

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
    inputs: Mapping[str, Tensor]


def prepare(row: Row, content: Content | ImageError | None, read: Read) -> Prepared | ImageError:
    """Make one image ready.

    Args:
        row: The image.
        content: Its path, its bytes, or its error, where they are known already.
        read: Does what needs the CPU.
    """
    try:
        if isinstance(content, ImageError):
            return content
        loaded = load_row(row) if content is None else content
        if isinstance(loaded, Iterator):
            first = next(loaded)
            return Prepared(first.size, read([chain([first], loaded)])[0])
        image = open_image(loaded, name=row.id)
        return Prepared(image.size, read([image])[0])
    except ImageError as error:
        return ImageError(row.id, error.reason)
