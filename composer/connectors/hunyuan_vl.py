"""HunyuanOCR's connector."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ..encoders import Grid
from ..encoders.shapes import Shapes, below, linear
from ..errors import InputError
from ..schemas.connectors.hunyuan_vl import HunYuanFields, HunYuanVLConnectorConfig
from .base import ImageOfTiles, SquareConnector, parts, transformers_class
from .text_config import text_width

if TYPE_CHECKING:
    from torch import Tensor, nn

M = TypeVar("M", bound=HunYuanFields)


class SquaresOfPatches(SquareConnector[M], Generic[M]):
    """The connectors of HunyuanOCR and Hy4, which run a merger on every image alone."""

    reads = "patches"
    projector = "patch_merger"
    merger: ClassVar[tuple[str, str]]
    """Module and name of the merger's class."""
    learned_tokens: ClassVar[tuple[str, ...]]
    """The merger's tokens that stand between rows."""

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        vision = vlm["vision_config"]
        return {"act": vision.get("hidden_act"), "rms_norm_eps": vision.get("rms_norm_eps")}

    def build(self) -> nn.Module:
        import torch

        width = self.config.hidden_size
        config = SimpleNamespace(
            hidden_size=self.tower.width,
            text_hidden_size=width,  # HunyuanOCR's name for it, and Hy4's
            out_hidden_size=width,
            spatial_merge_size=self.side,
            hidden_act=self.config.act,
            rms_norm_eps=self.config.rms_norm_eps,
        )
        merger = transformers_class(*self.merger)(config)
        for name in self.learned_tokens:  # transformers leaves their memory as it is
            torch.nn.init.normal_(merger.get_parameter(name), std=width**-0.5)
        return parts(patch_merger=merger)

    @property
    def planar(self) -> bool:
        return False  # learned tokens stand between the rows

    def row_grid(self, grid: Grid) -> Grid | None:
        return None

    def num_rows(self, image: ImageOfTiles) -> int:
        frames, rows, columns = image.grid
        if frames > 1:
            raise InputError(
                f"the connector {self.type!r} takes images; give it the {frames} frames one by one"
            )
        return self.num_squares_rows(rows // self.side, columns // self.side)

    @abstractmethod
    def num_squares_rows(self, rows: int, columns: int) -> int:
        """Count the rows of an image of so many rows and columns of squares."""

    def project(self, module: nn.Module, tokens: Tensor, grids: Tensor) -> Tensor:
        import torch

        merger = module.get_submodule(self.projector)
        pieces = torch.split(tokens, grids.prod(-1).tolist())
        sizes = grids[:, 1:].tolist()
        merged = [merger(piece[None], size=size)[0] for piece, size in zip(pieces, sizes, strict=True)]
        return torch.cat(merged)


class HunYuanVLConnector(SquaresOfPatches[HunYuanVLConnectorConfig]):
    """Convolutions over squares of patches, a learned token behind each line, one in front and one behind."""

    type = "hunyuan_vl"
    read_by: ClassVar = ("hunyuan_vl",)
    merger = ("hunyuan_vl.modeling_hunyuan_vl", "HunYuanVLVisionPatchMerger")
    learned_tokens = ("image_newline", "image_begin", "image_end", "image_sep")
    disk_names: ClassVar = {
        "perceive.proj.0.": "patch_merger.proj_conv.",
        "perceive.proj.2.": "patch_merger.proj_out.",
        "perceive.": "patch_merger.",
    }

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        # On the hub, the fields of the language model stand beside the tower's config.
        nested = "text_config" in vlm
        width = text_width(vlm, "hunyuan_vl_text") if nested else vlm.get("hidden_size", 4096)
        return super().fields_of(vlm) | {"hidden_size": width}

    def shapes(self) -> Shapes:
        width, out = self.tower.width, self.config.hidden_size
        layers: Shapes = {
            "proj_conv.weight": (2 * width, width, self.side, self.side),
            "proj_conv.bias": (2 * width,),
            "proj_out.weight": (4 * width, 2 * width, 1, 1),
            "proj_out.bias": (4 * width,),
            "image_newline": (4 * width,),
            **dict.fromkeys(("image_begin", "image_end", "image_sep"), (out,)),
            "before_rms.weight": (width,),
            "after_rms.weight": (out,),
        }
        return below(self.projector, layers | linear("mlp", 4 * width, out))

    def num_squares_rows(self, rows: int, columns: int) -> int:
        return rows * (columns + 1) + 2

    def flops(self, image: ImageOfTiles) -> int:
        width, rows = self.tower.width, self.num_rows(image)
        squares = self.tower.num_tokens(image.grid) // self.side**2
        convolutions = squares * 2 * width * width * (self.side**2 + 4)
        return 2 * (convolutions + rows * 4 * width * self.config.hidden_size)
