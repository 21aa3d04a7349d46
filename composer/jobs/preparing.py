"""One image made ready for the encoder: decoded and resized, or the reason why it cannot be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ..errors import ImageError
from ..images.decode import ImageLike, open_image
from .inputs import Content, Row, load_row

if TYPE_CHECKING:
    from torch import Tensor

Read: TypeAlias = "Callable[[Sequence[ImageLike]], Sequence[Mapping[str, Tensor]]]"
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
        image = open_image(load_row(row) if content is None else content, name=row.id)
        return Prepared(image.size, read([image])[0])
    except ImageError as error:
        return ImageError(row.id, error.reason)
