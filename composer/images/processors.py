"""Running image processors of transformers on one image.

Importing this module loads Pillow but not torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image

from ..errors import MissingDependencyError, WeightsError
from .reading import Arrays, check_size
from .settings import ProcessorSettings
from .whole import whole_image_processor

if TYPE_CHECKING:
    from transformers.image_processing_backends import PilBackend

    from .resize import ResizeRule

Process: TypeAlias = "Callable[[PilBackend, Image.Image], Arrays]"
"""Makes the inputs of one image with a processor."""

_NAMES = {"pixel_mask": "pixel_attention_mask"}
"""What Aria's processor calls an input -> what the tower calls it."""


def process_dense(processor: PilBackend, image: Image.Image, num_channels: int) -> Arrays:
    """Return an image as ``pixel_values`` (1, channels, height, width): uint8, or float32 after arithmetic.

    Args:
        processor: An image processor that makes one size of all images, or keeps theirs.
        image: In RGB, or in grey for one channel.
        num_channels: 3, or 1 for a tower that takes grey.
    """
    options: dict[str, Any] = {"do_convert_rgb": False, **grey_values(processor)} if num_channels == 1 else {}
    return {
        "pixel_values": uint8_or_float32(processor(image, return_tensors="np", **options)["pixel_values"])[:1]
    }


def grey_values(processor: PilBackend) -> dict[str, float]:
    """Return the mean and standard deviation for grey, if a processor has them for three channels."""
    own = vars(processor)
    if isinstance(own["image_mean"], Sequence) and len(own["image_mean"]) != 3:
        return {}
    return {key: float(np.mean(own[key])) for key in ("image_mean", "image_std")}


def process_ragged(processor: PilBackend, image: Image.Image) -> Arrays:
    """Return all that the processor makes of an image, under its names; pixels are uint8 or float32.

    Args:
        processor: An image processor that keeps each image's own size.
        image: In RGB.
    """
    with np.errstate(all="ignore"):
        output = processor(image, return_tensors="np")
    arrays = {_NAMES.get(name, name): np.asarray(array) for name, array in output.items()}
    arrays.pop("num_crops", None)
    arrays["pixel_values"] = uint8_or_float32(arrays["pixel_values"])
    return arrays


def uint8_or_float32(array: Any) -> np.ndarray[Any, Any]:
    """Return pixels as they are, if they are uint8, or as float32."""
    pixels = np.asarray(array)
    return pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32, copy=False)


def trial_image(num_channels: int = 3) -> Image.Image:
    """An image of all shades, in RGB, or in grey for one channel.

    Black would stay black, however wrong the factor that rescales it, and grey does not tell channels apart.
    """
    ramp = Image.linear_gradient("L").resize((64, 48))
    turned = (Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.ROTATE_90)
    if num_channels == 1:
        return ramp
    return Image.merge("RGB", [ramp, *(ramp.transpose(turn).resize(ramp.size) for turn in turned)])


def _check_finite(arrays: Arrays) -> None:
    if not np.isfinite(arrays["pixel_values"]).all():
        raise ValueError(
            "the pixels come out as NaN or infinity: image_std is too close to zero, or rescale_factor or "
            "image_mean is too large"
        )


def load_image_processor(
    settings: ProcessorSettings, resize: ResizeRule, process: Process, image: Image.Image
) -> tuple[PilBackend, Arrays]:
    """Return the image processor that makes images whole, and what it makes of one.

    Args:
        settings: Its class and values.
        resize: The sizes it will choose.
        process: Makes the inputs of an image, with the processor.
        image: The image, of :func:`trial_image`.

    Raises:
        WeightsError: If its values do not work, or the pixels are not finite.
        MissingDependencyError: If the installed transformers has the class for another library only.
    """
    try:
        processor = whole_image_processor(settings)
        check_size(resize, image)
        with np.errstate(all="ignore"):
            arrays = process(processor, image)
            _check_finite(arrays)
    except MissingDependencyError:
        raise
    except Exception as error:  # values of any type reach transformers' code
        message = f"{settings.name}: not a usable image processor config: {error}"
        raise WeightsError(message) from error
    return processor, arrays
