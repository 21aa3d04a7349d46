"""What a config and a plan know of an image processor of transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

Values = Mapping[str, Any]
"""Arguments of an image processor, as JSON holds them."""

Inputs = Literal[
    "pixels",
    "qwen_patches",
    "kimi_patches",
    "paddleocr_patches",
    "hunyuan_patches",
    "cosmos3_edge_patches",
    "inkling2_squares",
    "muse_patches",
    "video_llama_3_patches",
    "pixtral",
    "molmo2",
    "naflex",
    "phi4_multimodal",
    "gemma4",
    "idefics2",
    "idefics3",
    "mllama",
]
"""What a processor makes: which towers can take it."""

_RESIZING = {"do_convert_rgb", "do_resize", "size", "default_to_square", "resample"}
_CROPPING = {"do_center_crop", "crop_size", "do_pad", "pad_size"}
_SCALING = {"do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std"}
ARGUMENTS = frozenset(_RESIZING | _CROPPING | _SCALING)
"""Arguments that every processor takes, whether or not it uses them."""


@dataclass(frozen=True)
class ProcessorClass:
    """An image processor of transformers.

    Attributes:
        name: Its class's name.
        inputs: What it makes of images.
        keys: The keys of a config's ``image_processor`` that mean something to it.
        defaults: Its arguments, those of :data:`ARGUMENTS` only where it has a default.
        fit: Arguments with which images come out with a side of so many pixels, or at most that; None if no
            single number says that.
    """

    name: str
    inputs: Inputs
    keys: frozenset[str]
    defaults: Values
    fit: Callable[[int], Values] | None = None

    @property
    def arguments(self) -> frozenset[str]:
        """The arguments that it knows; others are ignored, as transformers ignores them."""
        return ARGUMENTS | self.defaults.keys()


def plain_name(name: str) -> str:
    """Return the name of a class without what tells its variants, or its old names, apart."""
    name = name.removesuffix("Fast").removesuffix("Pil").replace("FeatureExtractor", "ImageProcessor")
    return _OLD_NAMES.get(name, name)


_OLD_NAMES = {"KimiImageProcessor": "Kimi_K25ImageProcessor"}
"""What version 0.1 of this package wrote into saved towers -> transformers' name."""

NEAREST, LANCZOS, BILINEAR, BICUBIC, BOX, HAMMING = range(6)
"""Pillow's numbers of resampling filters."""

RESAMPLE: Mapping[str, int] = MappingProxyType(
    {
        "nearest": NEAREST,
        "bilinear": BILINEAR,
        "bicubic": BICUBIC,
        "lanczos": LANCZOS,
        "box": BOX,
        "hamming": HAMMING,
    }
)


def square(side: int) -> dict[str, int]:
    """Return the size of a square in pixels, as an argument of an image processor."""
    return {"height": side, "width": side}
