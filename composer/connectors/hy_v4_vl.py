"""Hy4's connector."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below
from ..schemas.connectors.hy_v4_vl import HYV4VLConnectorConfig
from .base import ImageOfTiles, parts, transformers_class
from .hunyuan_vl import MERGER, SquaresOfPatches

if TYPE_CHECKING:
    from torch import nn


class HYV4VLConnector(SquaresOfPatches[HYV4VLConnectorConfig]):
    """Convolutions over squares of patches, and a learned token behind each line."""

    type = "hy_v4_vl"
    read_by: ClassVar = ("hy_v4_vl",)
    disk_names: ClassVar = {
        "perceive.proj.0.": f"{MERGER}.proj_conv.",
        "perceive.proj.2.": f"{MERGER}.proj_out.",
        "perceive.norm.": f"{MERGER}.before_rms.",
        "perceive.": f"{MERGER}.",
    }

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        vision = vlm["vision_config"]
        fields = {
            "hidden_size": vision.get("out_hidden_size", 6144),
            "act": vision.get("hidden_act"),
            "rms_norm_eps": vision.get("rms_norm_eps"),
        }
        return {key: value for key, value in fields.items() if value is not None}

    @property
    def inner_width(self) -> int:
        """Features of a square between the convolutions."""
        return self.tower.width * self.side**2

    def shapes(self) -> Shapes:
        width, inner, out = self.tower.width, self.inner_width, self.config.hidden_size
        layers: Shapes = {
            "proj_conv.weight": (inner, width, self.side, self.side),
            "proj_conv.bias": (inner,),
            "proj_out.weight": (out, inner, 1, 1),
            "proj_out.bias": (out,),
            "image_newline": (out,),
            "before_rms.weight": (width,),
        }
        return below(MERGER, layers)

    def build(self) -> nn.Module:
        import torch

        merger = transformers_class("hy_v4_vl.modeling_hy_v4_vl", "HYV4VLVisionPatchMerger")
        config = SimpleNamespace(
            hidden_size=self.tower.width,
            out_hidden_size=self.config.hidden_size,
            spatial_merge_size=self.side,
            hidden_act=self.config.act,
            rms_norm_eps=self.config.rms_norm_eps,
        )
        module = merger(config)
        # transformers leaves its memory as it is
        torch.nn.init.normal_(module.image_newline, std=self.config.hidden_size**-0.5)
        return parts(patch_merger=module)

    def num_squares_rows(self, rows: int, columns: int) -> int:
        return rows * (columns + 1)

    def flops(self, image: ImageOfTiles) -> int:
        squares = self.tower.num_tokens(image.grid) // self.side**2
        return 2 * squares * self.inner_width * (self.inner_width + self.config.hidden_size)
