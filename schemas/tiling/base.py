"""What all ways to cut an image into tiles have in common."""

from __future__ import annotations

from typing import ClassVar

from ..typed import TypedBlock


class TilingConfig(TypedBlock):
    """A way to cut an image into tiles of the encoder's size.

    A tiling is a subclass with ``type: Literal["..."]`` and the fields of its VLM's image processor that
    decide where it cuts, under their names in transformers. A field that is not set is as the checkpoint's
    processor config says, or else has its default.
    """

    masked: ClassVar[bool] = False
    """Whether the tiles are for encoders that take each image with a mask of its valid pixels."""
