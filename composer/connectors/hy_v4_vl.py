"""Hy4's connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..encoders.shapes import Shapes, below
from ..schemas.connectors.hy_v4_vl import HYV4VLConnectorConfig
from .base import ImageOfTiles
from .hunyuan_vl import SquaresOfPatches


class HYV4VLConnector(SquaresOfPatches[HYV4VLConnectorConfig]):
    """Convolutions over squares of patches, and a learned token behind each line."""

    type = "hy_v4_vl"
    read_by: ClassVar = ("hy_v4_vl",)
    merger = ("hy_v4_vl.modeling_hy_v4_vl", "HYV4VLVisionPatchMerger")
    learned_tokens = ("image_newline",)
    disk_names: ClassVar = {
        "perceive.proj.0.": "patch_merger.proj_conv.",
        "perceive.proj.2.": "patch_merger.proj_out.",
        "perceive.norm.": "patch_merger.before_rms.",
        "perceive.": "patch_merger.",
    }

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        width = vlm["vision_config"].get("out_hidden_size", 6144)
        return super().fields_of(vlm) | {"hidden_size": width}

    def shapes(self) -> Shapes:
        width, inner, out = self.tower.width, self.square_width, self.config.hidden_size
        layers: Shapes = {
            "proj_conv.weight": (inner, width, self.side, self.side),
            "proj_conv.bias": (inner,),
            "proj_out.weight": (out, inner, 1, 1),
            "proj_out.bias": (out,),
            "image_newline": (out,),
            "before_rms.weight": (width,),
        }
        return below(self.projector, layers)

    def num_squares_rows(self, rows: int, columns: int) -> int:
        return rows * (columns + 1)

    def flops(self, image: ImageOfTiles) -> int:
        squares = self.tower.num_tokens(image.grid) // self.side**2
        return 2 * squares * self.square_width * (self.square_width + self.config.hidden_size)
