"""Pixel batches out of pictures, through transformers' own image processors.

Importing this module loads Pillow but not torch; what needs torch imports it.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..errors import ImageError, InputError, MissingDependencyError, WeightsError
from .decode import MAX_PIXELS, ImageLike, image_name, open_image

if TYPE_CHECKING:
    from torch import Tensor
    from transformers.image_processing_backends import PilBackend

_CONFIG_FILES = ("processor_config.json", "preprocessor_config.json")
_READERS = min(4, os.cpu_count() or 1)
"""Pictures decoded at once; each may take 512 MiB and more."""
_READ_AHEAD = 16
"""Pictures waiting or preprocessed beyond the one asked for."""


def load_image_processor(
    processor_class: type[PilBackend],
    defaults: Mapping[str, Any],
    source: Path | None,
    *,
    settings: Mapping[str, Any] | None = None,
    try_out: Callable[[PilBackend], None] | None = None,
) -> PilBackend:
    """The image processor of an encoder, of the family's own class, with the checkpoint's own values.

    A vision-language model's config names a processor that cuts pictures into tiles; a tower takes one
    picture whole, so the class stays the family's and only the values that it knows are taken.

    Args:
        processor_class: A PIL image processor.
        defaults: Its arguments where the checkpoint says nothing.
        source: The checkpoint's folder; None when there is none.
        settings: Arguments that hold whatever the checkpoint says.
        try_out: Raises if the processor does not work; default: it makes finite pixels of a picture.

    Raises:
        WeightsError: The folder's processor config is broken, or its values do not work.
        MissingDependencyError: The installed transformers has the processor for another library only.
    """
    file, saved = _saved_values(source) if source is not None else (None, {})
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
        (try_out or _try_out)(processor)
    except Exception as error:  # values of any type reach transformers' code
        where = file if file is not None else processor_class.__name__
        raise WeightsError(f"{where}: not a usable image processor config: {error}") from error
    return processor


def _try_out(processor: Any) -> None:
    """Process one picture, to find out now rather than at the first of a million."""
    channels = _num_means(processor)
    if channels in (1, 3):
        with np.errstate(all="ignore"):
            pixels = _run(processor, Image.new("RGB", (64, 48)), channels)
        if not np.isfinite(pixels).all():
            raise ValueError("the pixels come out as NaN or infinity; is image_std zero?")


def _saved_values(folder: Path) -> tuple[Path | None, dict[str, Any]]:
    """The image processor's part of a checkpoint's processor config and the file it stands in, if any."""
    for file in (folder / name for name in _CONFIG_FILES):
        if not file.is_file():
            continue
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise WeightsError(f"{file}: not readable as JSON: {error}") from error
        if file.name == "processor_config.json":  # newer transformers nests the image processor's values
            values = values.get("image_processor") if isinstance(values, dict) else values
            if values is None:
                continue
        if not isinstance(values, dict):
            raise WeightsError(f"{file}: expected the image processor's values as a JSON object")
        return file, values
    return None, {}


class ImagePreprocessor:
    """Pictures to the pixel batch of a dense tower.

    Args:
        processor: Resizes, crops and normalises.
        num_channels: Colour channels of the tower: 3, or 1 for one that takes grey.
        size: Side in pixels of the one size that the tower takes; None for one of any size.
    """

    def __init__(self, processor: PilBackend, *, num_channels: int = 3, size: int | None = None) -> None:
        self.processor = processor
        self.num_channels = num_channels
        self.size = size

    def __call__(self, images: Sequence[ImageLike], *, first: int = 0) -> dict[str, Tensor]:
        """Preprocess pictures.

        Args:
            images: Paths, PIL images, or uint8 arrays (height, width[, channels]).
            first: What the first picture without a path counts as in errors.

        Returns:
            ``pixel_values``: (images, channels, height, width), float32.

        Raises:
            ImageError: A picture that cannot be read or resized; names it.
            InputError: No pictures, pictures that come out at different sizes, or a tower whose channels
                are not colours.
        """
        import torch

        if self.num_channels not in (1, 3):
            raise InputError(
                f"a tower of {self.num_channels} channels takes no pictures; call it with pixel_values"
            )
        if len(images) == 0:
            raise InputError("no pictures to preprocess")
        pixels = [
            self._pixels(image, image_name(image, f"image {i}")) for i, image in enumerate(images, first)
        ]
        shapes = {array.shape for array in pixels}
        if len(shapes) > 1:
            sizes = ", ".join(sorted(f"{width}x{height}" for _, height, width in shapes))
            raise InputError(
                f"this image processor keeps pictures at different sizes ({sizes}), which make no batch; "
                "encode them one at a time"
            )
        batch = torch.from_numpy(np.stack(pixels))
        _, channels, height, width = batch.shape
        if channels != self.num_channels or (self.size is not None and (height, width) != (self.size,) * 2):
            raise InputError(
                f"the image processor makes {channels} channels of {width}x{height} pixels, which this tower "
                "does not take: the checkpoint's processor config is not the tower's"
            )
        return {"pixel_values": batch}

    def collate(self, batches: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Join batches of one image size into one."""
        import torch

        return {"pixel_values": torch.cat([batch["pixel_values"] for batch in batches])}

    def _pixels(self, image: ImageLike, label: str) -> np.ndarray[Any, Any]:
        picture = open_image(image, name=label)
        try:
            return _run(self.processor, picture, self.num_channels)
        except Exception as error:  # a processor fails on shapes in many ways
            raise ImageError(label, f"cannot be preprocessed: {error}") from error


def _run(processor: Any, picture: Image.Image, num_channels: int) -> np.ndarray[Any, Any]:
    """An RGB picture as (channels, height, width), float32."""
    _check_resize(processor, picture)
    options: dict[str, Any] = {}
    if num_channels == 1:
        picture = picture.convert("L")
        options = {"do_convert_rgb": False}
        if _num_means(processor) == 3:
            options |= {key: float(np.mean(getattr(processor, key))) for key in ("image_mean", "image_std")}
    pixels: np.ndarray[Any, Any] = processor(picture, return_tensors="np", **options)["pixel_values"][0]
    return pixels.astype(np.float32, copy=False)


def _num_means(processor: Any) -> int:
    mean = processor.image_mean
    return len(mean) if isinstance(mean, Sequence) else 3


def _check_resize(processor: Any, picture: Image.Image) -> None:
    """Refuse before resizing what would become too large: a thin strip by its shortest edge, odd settings."""
    size, crop = processor.size, processor.crop_size
    if processor.do_resize and size is not None:
        short, long = sorted(picture.size)
        if size.shortest_edge:
            length = size.shortest_edge * long // short
            check_area(size.shortest_edge, min(length, size.longest_edge or length))
        else:
            check_area(size.height or size.max_height or 1, size.width or size.max_width or 1)
    if processor.do_center_crop and crop is not None:
        check_area(crop.height or 1, crop.width or 1)


def check_area(height: int, width: int) -> None:
    """Refuse a size to resize to that memory should not be spent on."""
    if height * width > MAX_PIXELS:
        raise ValueError(
            f"it would be resized to {max(height, width)}x{min(height, width)} pixels, more than the limit"
        )


def iter_inputs(
    pictures: Iterable[ImageLike], preprocess: Callable[[Sequence[ImageLike]], Mapping[str, Tensor]]
) -> Iterator[tuple[int, str, Mapping[str, Tensor] | ImageError]]:
    """Preprocess pictures one by one, in order, a few ahead of what is asked for.

    Args:
        pictures: Paths, PIL images or arrays; read as they are needed.
        preprocess: An :class:`ImagePreprocessor`, or ``encoder.preprocess``. Called from several threads.

    Yields:
        Index, name, and the inputs of a batch of that picture alone, or the error of one that cannot be
        read.
    """

    def attempt(picture: ImageLike, name: str) -> Mapping[str, Tensor] | ImageError:
        try:
            return preprocess([picture])
        except ImageError as error:
            return ImageError(name, error.reason)

    pending: deque[tuple[int, str, Future[Mapping[str, Tensor] | ImageError]]] = deque()
    pool = ThreadPoolExecutor(_READERS)
    try:
        for index, picture in enumerate(pictures):
            name = image_name(picture, f"image {index}")
            pending.append((index, name, pool.submit(attempt, picture, name)))
            if len(pending) > _READ_AHEAD:
                first, name, future = pending.popleft()
                yield first, name, future.result()
        for index, name, future in pending:
            yield index, name, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
