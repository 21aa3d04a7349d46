"""Idefics3's and SmolVLM's image processors, with the view of the whole image and without its tiles."""

from __future__ import annotations

from typing import Any

import transformers


class _Thumbnail:
    """Where an image would be split, leaves the view of the whole, which is resized as with its tiles."""

    def split_images(self, image: Any, *args: Any, **values: Any) -> tuple[list[Any], int, int]:
        frames, _, _ = super().split_images(image, *args, **values)  # type: ignore[misc]  # of the class beside
        return frames[-1:], 0, 0


class Idefics3ImageProcessorPil(_Thumbnail, transformers.Idefics3ImageProcessorPil):
    """Idefics3's, for whole images."""


class SmolVLMImageProcessorPil(_Thumbnail, transformers.SmolVLMImageProcessorPil):
    """SmolVLM's, for whole images."""
