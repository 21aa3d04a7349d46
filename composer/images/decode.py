"""Opening images: whatever Pillow decodes by itself, as upright RGB, or one kind of error."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from ..errors import ImageError, InputError
from .limits import MAX_PIXELS, Budget, LimitError, TimedFile, check_scans, decoding_bytes

ImageLike: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray[Any, Any]"
Clip: TypeAlias = "list[ImageLike] | tuple[ImageLike, ...] | Iterator[ImageLike]"
"""The frames of a clip."""

_READABLE_FORMATS = frozenset(
    (
        *("AVIF", "BMP", "CUR", "DCX", "DDS", "DIB", "FLI", "FTEX", "GBR", "GIF", "IM", "IMT", "JPEG"),
        *("JPEG2000", "MCIDAS", "MSP", "PCD", "PCX", "PIXAR", "PNG", "PPM", "PSD", "QOI", "SGI", "SPIDER"),
        *("SUN", "TGA", "TIFF", "WEBP", "XBM", "XPM", "XVTHUMB"),
        *("HEIF", "JXL"),  # of pillow-heif and pillow-jxl-plugin, for those who register them
    )
)
"""Formats whose decoders start no program, open no other file or format, and know the size beforehand.

Of Pillow's others, EPS and WMF start a program; IPTC gives what it holds to any decoder, also to EPS; BLP,
FPX, ICNS, ICO and MIC hold an image of another format, whose size is known only when it is decoded; FITS
takes many times the image's memory; BUFR, GRIB, HDF5 and MPEG are not decoded at all.
"""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what undoes it."""

_SEE_THROUGH = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa"}
"""Modes whose transparency Pillow can tell: an alpha channel, or one colour that stands for it."""

_NOTHING = [("ignore", None, Warning, None, 0)]
"""The filters of a process that shows no warning."""

_quiet_lock = threading.Lock()
_budget = Budget()


def image_formats() -> tuple[str, ...]:
    """Return the formats that :func:`open_image` reads, by Pillow's names, in the order of trying."""
    Image.init()
    return _readable(tuple(Image.ID))


@lru_cache(maxsize=8)  # plugins may be registered at any time
def _readable(known: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in known if name in _READABLE_FORMATS)


def open_image(image: ImageLike | bytes, *, name: str | None = None) -> Image.Image:
    """Read an image as a person would see it: upright, on white, in 8-bit RGB.

    EXIF orientation is applied, transparency laid on white, grey replicated, 16-bit grey scaled by its full
    range, CMYK and the like converted; of an animation or a multi-page file the first frame is taken.
    Colour profiles are ignored, as the image processors of transformers do.

    No file starts a program or has another file read. All threads together take about ``MAX_BYTES`` for the
    images that they decode at one time; a thread waits for its turn. A PIL image that is not loaded yet is
    decoded by the plugin that opened it, without the limits on scans and seconds.

    Args:
        image: A path, the bytes of an image file, a PIL image, or a uint8 array (height, width), or (height,
            width, 1, 3 or 4).
        name: What to call it in errors; default: its path, or ``image``.

    Returns:
        A new RGB image without metadata.

    Raises:
        ImageError: If it cannot be read, is empty, has more than ``MAX_PIXELS`` pixels, or takes too much
            time or memory to decode; see :mod:`vision_composer.images.limits`.
    """
    label = name if name is not None else image_name(image, "image")
    try:
        if isinstance(image, Image.Image):
            _check_format(image, label)
            _check_size(image.size, label)
            with _budget.taking(decoding_bytes(image)):
                return _upright_rgb(image, label)
        if isinstance(image, np.ndarray):
            return _upright_rgb(_from_array(image, label), label)
        if isinstance(image, (str, os.PathLike, bytes)):
            return _read(image if isinstance(image, bytes) else os.fsdecode(image), label)
    except ImageError:
        raise
    except Exception as error:  # Pillow's plugins raise whatever their parsing stumbles over
        raise ImageError(label, _reason(error)) from error
    raise ImageError(
        label, f"expected a path, a file's bytes, a PIL image or a uint8 array, not {type(image).__name__}"
    )


def size_of_image(image: ImageLike | bytes) -> tuple[int, int] | None:
    """Width and height of an image as :func:`open_image` would return it, without decoding it.

    None for a file that :func:`open_image` refuses because of its header. A PNG whose orientation is not in
    an EXIF chunk before its pixels counts as upright.
    """
    try:
        if isinstance(image, np.ndarray):
            return image.shape[1], image.shape[0]
        if isinstance(image, Image.Image):
            return _upright_size(image)
        content = image if isinstance(image, bytes) else os.fsdecode(image)
        with TimedFile(content) as file, _opened(file) as opened:
            return _upright_size(opened)
    except Exception:  # Pillow's plugins raise whatever their parsing stumbles over
        return None


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    if getattr(image, "tile", None):  # not decoded yet
        if image.format == "TIFF":
            return width, height  # Pillow gives its size upright from the beginning
        if image.format == "PNG" and "exif" not in image.info:
            return width, height  # Pillow would decode it to look behind the pixels
    return (height, width) if _orientation(image) in (5, 6, 7, 8) else (width, height)


def image_name(image: object, default: str) -> str:
    """Return what to call an image: its path, or ``default`` for one that has none."""
    return os.fsdecode(image) if isinstance(image, (str, os.PathLike)) else default


def check_list(images: object) -> None:
    """Refuse what is no list of images, and a list without any.

    Raises:
        InputError: If it is that.
    """
    one = isinstance(images, (str, bytes, os.PathLike, Image.Image, np.ndarray))
    if one or not isinstance(images, Sized):
        raise InputError("expected a list of images; for one image write [image]")
    if len(images) == 0:
        raise InputError("no images to preprocess")


def _read(content: str | bytes, label: str) -> Image.Image:
    # Opened here rather than by Pillow: it would map the file into memory, and keep it open on some errors.
    with TimedFile(content) as file:
        try:
            image = _opened(file)
        except UnidentifiedImageError:
            known = "not an image in a format that can be read, or its header is broken"
            raise ImageError(label, known if file.seek(0, os.SEEK_END) else "the file is empty") from None
        with image:
            _check_size(image.size, label)
            check_scans(image, file)
            with _budget.taking(decoding_bytes(image)):
                try:
                    return _upright_rgb(image, label, ours=True)
                finally:
                    image.close()  # what it holds is given back before others may take as much


def _opened(file: TimedFile) -> Image.Image:
    with _quietly():
        return Image.open(file, formats=image_formats())


def _check_format(image: Image.Image, label: str) -> None:
    """Refuse an image that is not decoded yet, if its format is not read from files either."""
    if getattr(image, "tile", None) and image.format and image.format not in _READABLE_FORMATS | {"MPO"}:
        raise ImageError(label, f"not decoded, since its format is {image.format}: call its load() first")


@contextmanager
def _quietly() -> Iterator[None]:
    """Without Pillow's warnings about large images and odd metadata; the limits here are our own."""
    if warnings.filters[:1] == _NOTHING:  # as in a process that does nothing else: asking again takes time
        yield
        return
    # warnings' filters are global: two threads that save and restore them at once would leave ours behind.
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _upright_rgb(image: Image.Image, label: str, *, ours: bool = False) -> Image.Image:
    """Return a new image; of one that is ``ours`` it may take the pixels over."""
    image.load()
    _check_size(image.size, label)  # an icon of the caller's knows its size only now
    turn = _UPRIGHT.get(_orientation(image))
    if ours and image.mode == "RGB" and not image.has_transparency_data:
        rgb = image._new(image.im)  # convert() would copy the pixels, at a tenth of the time to decode them
    else:
        rgb = _to_rgb(image, label)
    if turn is not None:
        rgb = rgb.transpose(turn)
    rgb.info = {}  # or the orientation would be applied again by whoever reads it
    return rgb


def _check_size(size: tuple[int, int], label: str) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(label, f"empty: {width}x{height} pixels")
    if width * height > MAX_PIXELS:
        raise ImageError(label, f"{width}x{height} pixels is more than the limit of {MAX_PIXELS:,} pixels")


def _orientation(image: Image.Image) -> Any:
    try:
        with _quietly():
            return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # broken metadata beside sound pixels
        return None


def _to_rgb(image: Image.Image, label: str) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _deep_grey(image, label).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")  # the only mode that Pillow converts it to
    if not image.has_transparency_data or image.mode not in _SEE_THROUGH:
        return image.convert("RGB")
    layer = image if image.mode == "RGBA" else image.convert("RGBA")
    paper = Image.new("RGB", image.size, "white")
    paper.paste(layer, mask=layer)
    return paper


def _deep_grey(image: Image.Image, label: str) -> Image.Image:
    """Grey of more than 8 bits as 8 bits, by its full range rather than by the range it happens to use."""
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise ImageError(label, "floating-point pixels that are not finite")
    low, high = values.min(), values.max()
    if image.mode == "F":
        if low < 0 or high > 255:
            raise ImageError(
                label, f"floating-point pixels from {low} to {high}: expected 0 to 1, or 0 to 255"
            )
        grey = np.rint(values * (255 if high <= 1 else 1))
    else:
        if low < 0 or high > 65535:
            raise ImageError(label, f"32-bit pixels from {low} to {high}: expected 0 to 65535")
        grey = (values.astype(np.uint32) * 255 + 32767) // 65535
        transparent = image.info.get("transparency")
        if isinstance(transparent, int):
            grey[values == transparent] = 255
    return Image.fromarray(grey.astype(np.uint8))


def _from_array(array: np.ndarray[Any, Any], label: str) -> Image.Image:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise ImageError(
            label,
            f"an array of {array.dtype} {array.shape}: expected uint8 with shape (height, width), "
            "(height, width, 1), (height, width, 3) or (height, width, 4)",
        )
    _check_size((array.shape[1], array.shape[0]), label)
    return Image.fromarray(array[..., 0] if array.ndim == 3 and channels == 1 else array)


def _reason(error: Exception) -> str:
    if isinstance(error, LimitError):
        return str(error)
    if isinstance(error, FileNotFoundError) and error.strerror:
        return error.strerror
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    lines = str(error).splitlines()
    return f"cannot be read: {lines[0] if lines else type(error).__name__}"
