"""ERNIE 4.5 VL's connector."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders import Grid
from ..encoders.shapes import Shapes, below, layer_norm, linear
from ..errors import InputError
from ..schemas.connectors.ernie4_5_vl_moe import Ernie45VLConnectorConfig
from .base import ImageOfTiles, SquareConnector, parts, transformers_class
from .text_config import text_field

if TYPE_CHECKING:
    from torch import Tensor, nn

_RESAMPLER = "resampler_model"


class Ernie45VLConnector(SquareConnector[Ernie45VLConnectorConfig]):
    """An MLP on every square of patches, one on every pair of frames, a linear layer and a norm.

    An image is a pair with itself. The tower's patches stand by squares.
    """

    type = "ernie4_5_vl_moe"
    read_by: ClassVar = ("ernie4_5_vl_moe",)
    projector = _RESAMPLER
    text_model_type = "ernie4_5_vl_moe_text"
    disk_names: ClassVar = {
        f"{_RESAMPLER}.{mlp}_linear.{on_disk}.": f"{_RESAMPLER}.{mlp}_linear.{name}."
        for mlp in ("spatial", "temporal")
        for on_disk, name in (("0", "fc1"), ("2", "fc2"), ("3", "ln"))
    }

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        return super().fields_of(vlm) | {
            "layer_norm_eps": vlm["vision_config"].get("rms_norm_eps"),
            "rms_norm_eps": text_field(vlm, "rms_norm_eps"),
        }

    def shapes(self) -> Shapes:
        square, width = self.square_width, self.config.hidden_size
        layers: Shapes = {"after_norm.weight": (width,)} | linear("mlp", square, width)
        for name, inputs in (("spatial_linear", square), ("temporal_linear", 2 * square)):
            layers |= linear(f"{name}.fc1", inputs, square) | linear(f"{name}.fc2", square, square)
            layers |= layer_norm(f"{name}.ln", square)
        return below(self.projector, layers)

    def build(self) -> nn.Module:
        resampler = transformers_class(
            "ernie4_5_vl_moe.modeling_ernie4_5_vl_moe", "Ernie4_5_VLMoeVariableResolutionResamplerModel"
        )
        vision = SimpleNamespace(
            hidden_size=self.tower.width,
            spatial_merge_size=self.side,
            temporal_merge_size=2,
            rms_norm_eps=self.config.layer_norm_eps,
        )
        text = SimpleNamespace(hidden_size=self.config.hidden_size, rms_norm_eps=self.config.rms_norm_eps)
        return parts(resampler_model=resampler(SimpleNamespace(vision_config=vision, text_config=text)))

    def num_rows(self, image: ImageOfTiles) -> int:
        frames, rows, columns = image.grid
        if frames > 1 and frames % 2:
            raise InputError(f"a clip of {frames} frames cannot be merged in pairs; give an even number")
        return max(frames // 2, 1) * rows * columns // self.side**2

    def row_grid(self, grid: Grid) -> Grid | None:
        frames, rows, columns = grid
        return super().row_grid((max(frames // 2, 1), rows, columns))

    def flops(self, image: ImageOfTiles) -> int:
        square, rows = self.square_width, self.num_rows(image)
        squares = self.tower.num_tokens(image.grid) // self.side**2
        return 2 * square * (2 * squares * square + rows * (3 * square + self.config.hidden_size))

    def project(self, module: nn.Module, tokens: Tensor, grids: Tensor) -> Tensor:
        rows: Tensor = module.get_submodule(self.projector)(tokens, grids)
        return rows
