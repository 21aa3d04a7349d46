"""Which class on Pillow makes an image whole, and with which arguments, for an image processor's settings.

Processors that cut images into tiles look at the whole image, too. That view is made here, with the values
that the model's own processor makes it with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import MissingDependencyError
from ..schemas.processor_class import ARGUMENTS, Values
from .rules import box_of
from .settings import ProcessorSettings

if TYPE_CHECKING:
    from transformers.image_processing_backends import PilBackend


def whole_image_processor(settings: ProcessorSettings) -> PilBackend:
    """Make the image processor that makes images whole.

    Raises:
        MissingDependencyError: If the installed transformers has the class for another library only.
        Exception: Whatever transformers raises for values that do not work.
    """
    stand_in, change = _WHOLE.get(settings.type, ("", _as_it_is))
    name = f"{stand_in or settings.type.removesuffix('ImageProcessor')}ImageProcessorPil"
    processor_class = getattr(import_module(_OWN.get(name, "transformers"), __package__), name)
    try:
        known = processor_class.valid_kwargs.__annotations__
    except ImportError as error:  # transformers puts a stand-in where it misses a library
        raise MissingDependencyError(" ".join(str(error).split())) from error
    # Said in full, or a class that stands in would put its own defaults where the model's has none.
    values: dict[str, Any] = {**dict.fromkeys(ARGUMENTS), **change(settings.values)}
    made: PilBackend = processor_class(**{key: value for key, value in values.items() if key in known})
    return made


def _as_it_is(values: Values) -> Values:
    return values


def _without(*tiling: str) -> Callable[[Values], Values]:
    return lambda values: {**values, **dict.fromkeys(tiling, False)}


def _squashed(values: Values) -> Values:
    """LLaVA-NeXT's and OneVision's first view: resized to a box, which ``size`` then leaves as it is."""
    return {**values, "size": box_of(values), "do_resize": True, "do_pad": False}


_OWN = {
    "Idefics3ImageProcessorPil": ".thumbnails",
    "SmolVLMImageProcessorPil": ".thumbnails",
    "Kimi_K25ImageProcessorPil": ".kimi_k25",
    "Lfm2VlImageProcessorPil": ".lfm2_vl",
    "Inkling2ImageProcessorPil": ".inkling2",
    "MuseGlimmerImageProcessorPil": ".muse_glimmer",
    "DINOv3ViTImageProcessorPil": ".dinov3_vit",
    "Llama4ImageProcessorPil": ".llama4",
    "Molmo2ImageProcessorPil": ".molmo2",
    "Phi4MultimodalImageProcessorPil": ".phi4_multimodal",
}
"""Class -> the module here that has it, where transformers has none on Pillow, or none for whole images."""

_WHOLE: Mapping[str, tuple[str, Callable[[Values], Values]]] = {
    "LlavaNextImageProcessor": ("CLIP", _squashed),
    "LlavaOnevisionImageProcessor": ("CLIP", _squashed),
    "VideoLlavaImageProcessor": ("CLIP", _without("do_pad")),
    "GotOcr2ImageProcessor": ("", _without("crop_to_patches")),
    "Ovis2ImageProcessor": ("", _without("crop_to_patches")),
    "GraniteDoclingImageProcessor": ("GotOcr2", _without("crop_to_patches")),
    "Cohere2VisionImageProcessor": ("GotOcr2", _without("crop_to_patches")),
    "MiniMaxM3VLImageProcessor": ("Qwen2VL", _as_it_is),
    "Gemma3ImageProcessor": ("", _without("do_pan_and_scan")),
    "Idefics2ImageProcessor": ("", _without("do_image_splitting")),
    "Idefics3ImageProcessor": ("", _without("return_row_col_info")),
    "SmolVLMImageProcessor": ("", _without("return_row_col_info")),
    # It always resizes, and what asks for resizing would ask for a size that it has not.
    "AriaImageProcessor": ("", _without("split_image", "do_resize")),
}
"""Class -> the one on Pillow that stands in for it, if not its own, and what its arguments become."""
