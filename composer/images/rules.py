"""From an image processor's values to the size that it makes of an image. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..schemas.processor_class import Values
from .arguments import GEMMA4_TOKENS
from .budgets import AlignedBudget, NearestRatio, WholeSquares
from .resize import (
    AriaCanvas,
    EdgeBounds,
    EnlargingPixelBudget,
    FixedSize,
    LongestEdge,
    PaddedPatchBudget,
    PatchBudget,
    PixelBudget,
    ResizeRule,
    StretchingPixelBudget,
    TileCanvas,
    TokenBudget,
    TokenPixelBudget,
)
from .steps import Steps


def rule_of(name: str, values: Values) -> ResizeRule:
    """Return how an image processor resizes images.

    Args:
        name: Its class.
        values: Its arguments.

    Raises:
        ArithmeticError, AttributeError, LookupError, TypeError, ValueError: If they do not work.
    """
    return _RULES.get(name, Steps.of)(values)


def resized_first(name: str, rule: ResizeRule) -> Callable[[int, int], tuple[int, int]] | None:
    """Return the size to which a processor resizes an image as it comes, if that is its only resize.

    None if it does more with an image before or while it is resized, or resizes it whatever it is told.

    Args:
        name: Its class.
        rule: What :func:`rule_of` returns for it.
    """
    if isinstance(rule, Steps):
        return None if rule.squares else rule.resized
    return rule if name in _ONCE else None


def box_of(values: Values) -> dict[str, int]:
    """Return the size in pixels to which an image is squashed; one edge means a square."""
    size = values["size"]
    edge = size.get("shortest_edge")
    return {"height": size.get("height", edge), "width": size.get("width", edge)}


def _squashed(values: Values) -> Steps:
    """LLaVA-NeXT's and OneVision's view of the whole image, which is squashed and never only shortened."""
    return Steps.of({**values, "do_resize": True, "size": box_of(values), "do_pad": False})


def _whole(values: Values) -> Steps:
    """A processor that resizes an image and does no more."""
    return Steps.of({**values, "do_center_crop": False, "do_pad": False})


def _unpadded(values: Values) -> Steps:
    return Steps.of({**values, "do_pad": False})


def _llava(values: Values) -> Steps:
    return Steps.of({**values, "do_pad": False}, squares=bool(values["do_pad"]))


def _deepseek(values: Values) -> Steps:
    side = _side(values)
    longest = side if values["do_resize"] else None
    return Steps(longest=longest, shortest=values["min_size"], pads=bool(values["do_pad"]))


def _qwen(values: Values) -> PixelBudget:
    return PixelBudget(values["patch_size"] * values["merge_size"], *_areas(values))


def _glm(values: Values) -> EnlargingPixelBudget:
    factor = values["patch_size"] * values["merge_size"]
    return EnlargingPixelBudget(factor, *_areas(values), frames=values["temporal_patch_size"])


def _glm5(values: Values) -> AlignedBudget:
    factor = values["patch_size"] * values["merge_size"]
    return AlignedBudget(factor, values["min_image_tokens"], values["max_image_tokens"])


def _muse(values: Values) -> NearestRatio:
    return NearestRatio(values["patch_size"] * values["merge_size"], values["max_image_tokens"])


def _inkling(values: Values) -> WholeSquares:
    return WholeSquares(values["size"]["width"], values["size"]["height"])


def _paddleocr(values: Values) -> StretchingPixelBudget:
    return StretchingPixelBudget(values["patch_size"] * values["merge_size"], *_areas(values))


def _areas(values: Values) -> tuple[int, int]:
    least, most = values["size"]["shortest_edge"], values["size"]["longest_edge"]
    if least > most:
        raise ValueError(f"the least area, {least}, is above the greatest, {most}")
    return least, most


def _kimi(values: Values) -> PaddedPatchBudget:
    size = values["size"]
    if size["max_height"] != size["max_width"]:
        raise ValueError("size.max_height and size.max_width differ")
    return PaddedPatchBudget(
        values["patch_size"], values["merge_size"], values["max_patches"], size["max_height"]
    )


def _pixtral(values: Values) -> LongestEdge:
    size, patch = values["size"], values["patch_size"]
    edge = size.get("longest_edge")
    width, height = (edge, edge) if edge else (size["width"], size["height"])
    return LongestEdge(width, height, patch["width"], patch["height"])


def _naflex(values: Values) -> PatchBudget:
    return PatchBudget(values["patch_size"], values["max_num_patches"])


def _lfm2(values: Values) -> TokenPixelBudget:
    factor = values["encoder_patch_size"] * values["downsample_factor"]
    least, most = (values[key] * factor**2 for key in ("min_image_tokens", "max_image_tokens"))
    return TokenPixelBudget(factor, least, most, patch_size=values["encoder_patch_size"])


def _gemma4(values: Values) -> TokenBudget:
    tokens = values["max_soft_tokens"]
    if tokens not in GEMMA4_TOKENS:
        raise ValueError(f"max_soft_tokens is {tokens}; it must be one of {GEMMA4_TOKENS}")
    return TokenBudget(values["patch_size"] * values["pooling_kernel_size"], tokens)


def _idefics2(values: Values) -> ResizeRule:
    size = values["size"]
    if "shortest_edge" in size and "longest_edge" in size:
        return EdgeBounds(size["shortest_edge"], size["longest_edge"])
    return FixedSize(size["width"], size["height"])


def _tile(values: Values) -> FixedSize:
    side = _side(values)
    return FixedSize(side, side, values["patch_size"])


def _side(values: Values) -> int:
    height, width = values["size"]["height"], values["size"]["width"]
    if height != width:
        raise ValueError(f"size is {height}x{width}; this image processor takes squares only")
    side: int = width
    return side


def _idefics3(values: Values) -> FixedSize:
    side = values["max_image_size"]["longest_edge"]
    return FixedSize(side, side)


def _aria(values: Values) -> AriaCanvas:
    side = values["max_image_size"]
    if side not in (490, 980):
        raise ValueError(f"max_image_size is {side}; AriaImageProcessor takes 490 and 980")
    return AriaCanvas(side, values["min_image_size"])


def _mllama(values: Values) -> TileCanvas:
    return TileCanvas(values["size"]["height"], values["max_image_tiles"])


_BY_NAME: Mapping[str, Callable[[Values], ResizeRule]] = {
    "Llava": _llava,
    "LlavaNext": _squashed,
    "LlavaOnevision": _squashed,
    "DeepseekVL": _deepseek,
    "Janus": _deepseek,
    "GotOcr2": _whole,
    "Ovis2": _unpadded,
    "Cohere2Vision": _whole,
    "GraniteDocling": _whole,
    "Gemma3": _whole,
    "Llama4": _whole,
    "Qwen2VL": _qwen,
    "CohereCompass": _qwen,
    "MiniMaxM3VL": _qwen,
    "Ernie4_5_VLMoe": _qwen,
    "HunYuanVL": _qwen,
    "HYV4VL": _qwen,
    "PaddleOCRVL": _paddleocr,
    "Cosmos3Edge": _glm,
    "Glm4v": _glm,
    "Glm46V": _glm,
    "Glmga": _glm,
    "Glm5Next": _glm5,
    "Inkling2": _inkling,
    "MuseGlimmer": _muse,
    "VideoLlama3": _qwen,
    "Kimi_K25": _kimi,
    "Pixtral": _pixtral,
    "Siglip2": _naflex,
    "Lfm2Vl": _lfm2,
    "Gemma4": _gemma4,
    "Molmo2": _tile,
    "Phi4Multimodal": _tile,
    "Idefics2": _idefics2,
    "Idefics3": _idefics3,
    "SmolVLM": _idefics3,
    "Aria": _aria,
    "Mllama": _mllama,
}
_RULES = {f"{name}ImageProcessor": rule for name, rule in _BY_NAME.items()}
"""Class -> its rule, of those that do not take the steps of most processors."""

_ONCE = frozenset(
    f"{name}ImageProcessor"
    for name in (
        *("Qwen2VL", "MiniMaxM3VL", "Ernie4_5_VLMoe", "HunYuanVL", "PaddleOCRVL", "Cosmos3Edge"),
        *("Glm4v", "Glm46V", "Glmga", "HYV4VL", "CohereCompass", "MuseGlimmer", "VideoLlama3"),
        *("Pixtral", "Siglip2", "Gemma4", "Idefics2"),
    )
)
"""Classes that resize an image once, as it comes, to their rule's size, unless ``do_resize`` is off."""
