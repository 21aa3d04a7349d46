"""Image processors of transformers, with a checkpoint's own values.

Importing this module loads Pillow but not torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image

from ..errors import MissingDependencyError, WeightsError
from .limits import MAX_PIXELS
from .saved import saved_values

if TYPE_CHECKING:
    from transformers.image_processing_backends import PilBackend

    from .resize import ResizeRule

Arrays: TypeAlias = dict[str, "np.ndarray[Any, Any]"]

_MAX_SIZE = 1 << 23
"""Most pixels that an image is resized to for a batch of one size: 2,896 x 2,896, far more than any encoder
takes, and 100 MB as float32."""


def process_dense(processor: Any, image: Image.Image, num_channels: int) -> Arrays:
    """Return an RGB image as ``pixel_values`` (1, channels, height, width), float32.

    Args:
        processor: An image processor that makes one size of all images, or keeps theirs.
        image: In RGB.
        num_channels: 3, or 1 for a tower that takes grey.

    Raises:
        ValueError: If the image would be resized to too many pixels. The processor may raise others.
    """
    _check_resize(processor, image)
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
    arrays = {name: np.asarray(array) for name, array in output.items()}
    arrays["pixel_values"] = arrays["pixel_values"].astype(np.float32, copy=False)
    return arrays


def try_dense(processor: Any) -> None:
    """Process one image, to find out now rather than at the first of a million.

    Raises:
        ValueError: If the pixels are not finite. The processor may raise others.
    """
    channels = _num_means(processor)
    if channels in (1, 3):
        with np.errstate(all="ignore"):
            _check_finite(process_dense(processor, _trial_image(), channels))


def try_ragged(processor: Any, resize_rule: Callable[[Any], ResizeRule]) -> None:
    """Do as :func:`try_dense`, for a processor that keeps each image's own size."""
    _check_finite(process_ragged(processor, resize_rule(processor), _trial_image()))


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


def _check_resize(processor: Any, image: Image.Image) -> None:
    """Refuse before resizing what would become too large: a thin strip by its shortest edge, odd settings."""
    size, crop = processor.size, processor.crop_size
    if processor.do_resize and size is not None:
        short, long = sorted(image.size)
        if size.shortest_edge:
            length = size.shortest_edge * long // short
            _check_area(size.shortest_edge, min(length, size.longest_edge or length), _MAX_SIZE)
        else:
            _check_area(size.height or size.max_height or 1, size.width or size.max_width or 1, _MAX_SIZE)
    if processor.do_center_crop and crop is not None:
        _check_area(crop.height or 1, crop.width or 1, _MAX_SIZE)


def _check_area(height: int, width: int, limit: int) -> None:
    """Refuse a size to resize to that memory should not be spent on."""
    if height * width > limit:
        raise ValueError(
            f"it would be resized to {max(height, width)}x{min(height, width)} pixels, more than the limit "
            f"of {limit:,}"
        )


def load_image_processor(
    processor_class: type[PilBackend],
    defaults: Mapping[str, Any],
    source: Path | None,
    *,
    settings: Mapping[str, Any] | None = None,
    try_out: Callable[[Any], None] = try_dense,
) -> PilBackend:
    """Return the image processor of an encoder, of the family's own class, with the checkpoint's own values.

    A vision-language model's config names a processor that cuts images into tiles; a tower takes an image
    whole, so the class stays the family's and only the values that it knows are taken.

    Args:
        processor_class: A PIL image processor.
        defaults: Its arguments where the checkpoint says nothing.
        source: The checkpoint's folder; None when there is none.
        settings: Arguments that hold whatever the checkpoint says.
        try_out: Raises if the processor does not work.

    Raises:
        WeightsError: If the folder's processor config is broken, or its values do not work.
        MissingDependencyError: If the installed transformers has the processor for another library only.
    """
    file, saved = saved_values(source) if source is not None else (None, {})
    try:
        known = processor_class.valid_kwargs.__annotations__
    except ImportError as error:  # transformers puts a stand-in where it misses a library
        raise MissingDependencyError(" ".join(str(error).split())) from error
    values = dict(defaults)
    values |= {key: value for key, value in saved.items() if key in known and value is not None}
    for tiling in {"do_pad", "crop_to_patches"} & known.keys():
        values[tiling] = False
    values |= settings or {}
    try:
        processor = processor_class(**values)
        try_out(processor)
    except Exception as error:  # values of any type reach transformers' code
        where = file if file is not None else processor_class.__name__
        raise WeightsError(f"{where}: not a usable image processor config: {error}") from error
    return processor
