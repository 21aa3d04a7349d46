"""LLaVA-OneVision's connector: LLaVA-NeXT's, with many tiles made smaller."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import sqrt
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ConfigError, Problem
from ..schemas.connectors.llava_onevision import LlavaOnevisionConnectorConfig
from .base import ImageOfTiles
from .llava_next import AnyResConnector, unpadded

if TYPE_CHECKING:
    from torch import Tensor

_ASPECT_RATIO = re.compile(r"anyres_max_([0-9]{1,4})")


class LlavaOnevisionConnector(AnyResConnector[LlavaOnevisionConnectorConfig]):
    """As LLaVA-NeXT's, but the lines of a large image are interpolated to about ``max_patches`` tiles' worth.

    Source: ``LlavaOnevisionModel.pack_image_features``.
    """

    type = "llava_onevision"
    read_by: ClassVar = ("llava_onevision",)

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        ratio = vlm.get("vision_aspect_ratio", "anyres_max_9")
        match = _ASPECT_RATIO.fullmatch(str(ratio))
        if match is None:
            message = f"expected anyres_max_9 or another number in its place, got {ratio!r:.80}"
            raise ConfigError(Problem("VC104", message, "vision_aspect_ratio"))
        return {**super().fields_of(vlm), "max_patches": int(match[1])}

    def shape_of_lines(self, image: ImageOfTiles) -> tuple[int, int]:
        lines, length = unpadded(image)[2:]
        ratio = sqrt(lines * length / (self.config.max_patches * image.grid[1] ** 2))
        return (int(lines // ratio), int(length // ratio)) if ratio > 1.1 else (lines, length)

    def resized(self, lines: Tensor, image: ImageOfTiles) -> Tensor:
        from torch.nn.functional import interpolate

        shape = self.shape_of_lines(image)
        if shape == tuple(lines.shape[:2]):
            return lines
        return interpolate(lines.movedim(-1, 0)[None], shape, mode="bilinear")[0].movedim(0, -1)
