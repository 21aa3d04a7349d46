"""The arguments of image processors: in the one form that they have here, and out of a config's block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError, Problem
from ..schemas import ImageProcessorConfig, ProcessorClass
from ..schemas.image_processor import BoxConfig
from ..schemas.processor_class import RESAMPLE, Values, square

GEMMA4_TOKENS = (70, 140, 280, 560, 1120)
"""What Gemma 4's image processor takes as ``max_soft_tokens``."""

_MOST = 1 << 31
_WRITTEN_IN_THREE_WAYS = {
    f"{name}ImageProcessor"
    for name in (
        *("Qwen2VL", "CohereCompass", "MiniMaxM3VL", "PaddleOCRVL", "HunYuanVL", "HYV4VL"),
        "VideoLlama3",
    )
}
_EDGES = frozenset({"height", "width", "shortest_edge", "longest_edge", "max_height", "max_width"})


def canonical(chosen: ProcessorClass, values: Values) -> dict[str, Any]:
    """Return a class's arguments out of a JSON object, sizes as mappings.

    As in transformers, null is a value that takes the place of the class's default.

    Raises:
        ValueError: If a value that should be a size is not one.
    """
    known = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in values.items()
        if key in chosen.arguments
    }
    known |= _areas(chosen, values)
    boxed = bool(known.get("default_to_square", chosen.defaults["default_to_square"]))
    for key, as_box in (("size", boxed), ("crop_size", True), ("pad_size", True)):
        if known.get(key) is not None:
            known[key] = _size(key, known[key], as_box=as_box)
    if chosen.name == "PixtralImageProcessor" and known.get("patch_size") is not None:
        known["patch_size"] = _size("patch_size", known["patch_size"], as_box=True)
    if chosen.name == "MiniMaxM3VLImageProcessor" and known.get("size") == square(672):
        del known["size"]  # as transformers: a size in the published files that was never used
    return known


def _areas(chosen: ProcessorClass, values: Values) -> dict[str, Any]:
    """Return Qwen's bounds of an area, which its files write in three ways, as a size."""
    if chosen.name not in _WRITTEN_IN_THREE_WAYS:
        return {}
    given = values.get("size")
    size = dict(given) if isinstance(given, Mapping) else {}
    for edge, pixels in (("shortest_edge", "min_pixels"), ("longest_edge", "max_pixels")):
        inner = size.pop(pixels, None)
        bound = inner if values.get(pixels) is None else values[pixels]
        if bound is not None:
            size[edge] = bound
    return {"size": {**chosen.defaults["size"], **size}}


def _size(key: str, value: Any, *, as_box: bool) -> dict[str, int]:
    """Return a size as a mapping, as transformers reads it."""
    if isinstance(value, int):
        value = square(value) if as_box else {"shortest_edge": value}
    elif isinstance(value, list) and len(value) == 2:
        value = {"height": value[0], "width": value[1]}
    if not isinstance(value, Mapping):
        raise ValueError(f"{key} is {str(value)[:40]!r}, not a size")
    size = {edge: length for edge, length in value.items() if length is not None}
    if not size or not size.keys() <= _EDGES:
        raise ValueError(f"{key} has the keys {', '.join(map(str, value))[:80]}")
    for edge, length in size.items():
        if type(length) is not int or not 0 < length < _MOST:
            raise ValueError(f"{key}.{edge} is {str(length)[:40]}, not a number of pixels")
    return size


def from_config(chosen: ProcessorClass, block: ImageProcessorConfig, values: Values) -> dict[str, Any]:
    """Return the arguments that a config's block sets.

    Args:
        chosen: The class.
        block: The block, with no key that the class does not know.
        values: The class's arguments without the block.

    Raises:
        ConfigError: If a number means nothing to the class.
    """
    changed: dict[str, Any] = {}
    if isinstance(block.size, int):
        changed |= _fitted(chosen, block.size, values)
    elif block.size is not None:
        changed["size"] = block.size.given()
    if block.min_pixels is not None or block.max_pixels is not None:
        changed |= _bounded(chosen, block, {**values, **changed})
    if block.patch_size is not None:
        changed["patch_size"] = square(block.patch_size)
    if block.resample is not None:
        changed["resample"] = RESAMPLE[block.resample]
    for key, numbers in (("image_mean", block.mean), ("image_std", block.std)):
        if numbers is not None:
            changed[key] = list(numbers)
    if block.crop is not None:
        changed["do_center_crop"] = block.crop is not False
        if not isinstance(block.crop, bool):
            crop = block.crop
            changed["crop_size"] = crop.model_dump() if isinstance(crop, BoxConfig) else square(crop)
    if block.pad is not None:
        changed["do_pad"] = block.pad
    return changed


def _fitted(chosen: ProcessorClass, side: int, values: Values) -> Values:
    """Return the arguments that make images of one side, in the form in which their size was given."""
    if chosen.fit is None:
        message = f"one number means nothing to {chosen.name}; set min_pixels and max_pixels"
        raise ConfigError(Problem("VC212", message, "image_processor.size"))
    changed = dict(chosen.fit(side))
    if "height" in (values.get("size") or {}) and "size" in changed:
        changed["size"] = square(side)
    return changed


def _bounded(chosen: ProcessorClass, block: ImageProcessorConfig, values: Values) -> dict[str, Any]:
    """Return the bounds of an image's area, in the unit in which the class counts it."""
    if chosen.name not in _UNITS:
        edges = {"shortest_edge": block.min_pixels, "longest_edge": block.max_pixels}
        size = dict(values["size"]) | {edge: area for edge, area in edges.items() if area is not None}
        return {"size": size}
    side, names = _UNITS[chosen.name]
    unit = 1
    for name in side:
        unit *= values[name] ** 2
    changed = {}
    for key, name in names.items():
        area = getattr(block, key)
        if area is None:
            continue
        number = area // unit
        if chosen.name == "Gemma4ImageProcessor":
            number = max((tokens for tokens in GEMMA4_TOKENS if tokens <= number), default=0)
        if number < 1:
            least = unit * (GEMMA4_TOKENS[0] if chosen.name == "Gemma4ImageProcessor" else 1)
            message = f"must be at least {least} for this encoder"
            raise ConfigError(Problem("VC212", message, f"image_processor.{key}"))
        changed[name] = number
    return changed


_UNITS = {
    "Kimi_K25ImageProcessor": (("patch_size",), {"max_pixels": "max_patches"}),
    "Siglip2ImageProcessor": (("patch_size",), {"max_pixels": "max_num_patches"}),
    "Lfm2VlImageProcessor": (
        ("encoder_patch_size", "downsample_factor"),
        {"min_pixels": "min_image_tokens", "max_pixels": "max_image_tokens"},
    ),
    "Glm5NextImageProcessor": (
        ("patch_size", "merge_size"),
        {"min_pixels": "min_image_tokens", "max_pixels": "max_image_tokens"},
    ),
    "MuseGlimmerImageProcessor": (("patch_size", "merge_size"), {"max_pixels": "max_image_tokens"}),
    "Gemma4ImageProcessor": (("patch_size", "pooling_kernel_size"), {"max_pixels": "max_soft_tokens"}),
}
"""Class -> arguments whose squares are one unit of area, and the arguments that count such units."""
