"""Running image processors of transformers on one image.

Importing this module loads Pillow but not torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image

from ..errors import MissingDependencyError, WeightsError
from .limits import MAX_PIXELS
from .settings import ProcessorSettings
from .steps import Steps
from .whole import whole_image_processor

if TYPE_CHECKING:
    from transformers.image_processing_backends import PilBackend

    from .resize import ResizeRule

Arrays: TypeAlias = dict[str, "np.ndarray[Any, Any]"]

_MAX_SIZE = 1 << 23
"""Most pixels that an image is resized to for a batch of one size: 2,896 x 2,896, far more than any encoder
takes, and 100 MB as float32."""


_NAMES = {"pixel_mask": "pixel_attention_mask"}
"""What Aria's processor calls an input -> what the tower calls it."""


def process_dense(processor: Any, resize: ResizeRule, image: Image.Image, num_channels: int) -> Arrays:
    """Return an RGB image as ``pixel_values`` (1, channels, height, width), float32.

    Args:
        processor: An image processor that makes one size of all images, or keeps theirs.
        resize: The sizes it will choose.
        image: In RGB.
        num_channels: 3, or 1 for a tower that takes grey.

    Raises:
        ValueError: If the image would be resized to too many pixels. The processor may raise others.
    """
    _check_steps(resize, image)
    options: dict[str, Any] = {}
    if num_channels == 1:
        image = image.convert("L")
        options = {"do_convert_rgb": False}
        if _num_means(processor) == 3:
            options |= {key: float(np.mean(getattr(processor, key))) for key in ("image_mean", "image_std")}
    pixels: np.ndarray[Any, Any] = processor(image, return_tensors="np", **options)["pixel_values"]
    return {"pixel_values": np.asarray(pixels)[:1].astype(np.float32, copy=False)}


def process_ragged(processor: Any, resize: ResizeRule, image: Image.Image) -> Arrays:
    """Return all that the processor makes of an image, under its names; pixels are float32.

    Args:
        processor: An image processor that keeps each image's own size.
        resize: The sizes it will choose.
        image: In RGB.

    Raises:
        ValueError: If the image would be resized to too many pixels. The processor may raise others.
    """
    width, height = resize(*image.size)
    _check_area(height, width, MAX_PIXELS)
    with np.errstate(all="ignore"):
        output = processor(image, return_tensors="np")
    arrays = {_NAMES.get(name, name): np.asarray(array) for name, array in output.items()}
    arrays.pop("num_crops", None)
    arrays["pixel_values"] = arrays["pixel_values"].astype(np.float32, copy=False)
    return arrays


def _trial_image() -> Image.Image:
    """An image of every grey: black stays black, however wrong the factor that rescales it."""
    return Image.linear_gradient("L").resize((64, 48)).convert("RGB")


def _check_finite(arrays: Arrays) -> None:
    if not np.isfinite(arrays["pixel_values"]).all():
        raise ValueError(
            "the pixels come out as NaN or infinity: image_std is too close to zero, or rescale_factor or "
            "image_mean is too large"
        )


def _num_means(processor: Any) -> int:
    mean = processor.image_mean
    return len(mean) if isinstance(mean, Sequence) else 3


def _check_steps(resize: ResizeRule, image: Image.Image) -> None:
    """Refuse before resizing what would become too large: a thin strip by its shortest edge, odd settings."""
    if not isinstance(resize, Steps):
        return
    (width, height), *later = resize.sizes(*image.size)
    _check_area(height, width, MAX_PIXELS)
    for size in later:
        if size != image.size:
            _check_area(size[1], size[0], _MAX_SIZE)


def _check_area(height: int, width: int, limit: int) -> None:
    """Refuse a size to resize to that memory should not be spent on."""
    if height * width > limit:
        raise ValueError(
            f"it would be resized to {max(height, width)}x{min(height, width)} pixels, more than the limit "
            f"of {limit:,}"
        )


def load_image_processor(
    settings: ProcessorSettings, process: Callable[[Any, Image.Image], Arrays]
) -> PilBackend:
    """Return the image processor that makes images whole, after it has made one.

    Args:
        settings: Its class and values.
        process: Makes the inputs of an image, with the processor.

    Raises:
        WeightsError: If its values do not work, or the pixels are not finite.
        MissingDependencyError: If the installed transformers has the class for another library only.
    """
    try:
        processor = whole_image_processor(settings)
        with np.errstate(all="ignore"):
            _check_finite(process(processor, _trial_image()))
    except MissingDependencyError:
        raise
    except Exception as error:  # values of any type reach transformers' code
        message = f"{settings.name}: not a usable image processor config: {error}"
        raise WeightsError(message) from error
    return processor
