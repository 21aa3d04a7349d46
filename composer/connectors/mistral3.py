"""Mistral 3's and LightOnOCR's connector."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders import Grid
from ..encoders.shapes import Shapes, below, linear
from ..errors import ConfigError, InputError, Problem
from ..schemas.connectors.mistral3 import Mistral3ConnectorConfig
from .base import GridConnector, ImageOfTiles, TowerOutput, parts, transformers_class
from .text_config import text_field

if TYPE_CHECKING:
    from torch import Tensor, nn


class Mistral3Connector(GridConnector[Mistral3ConnectorConfig]):
    """A norm, squares of tokens merged by a linear layer, and two linear layers."""

    type = "mistral3"
    reads = "patches"
    read_by: ClassVar = ("mistral3", "lighton_ocr", "mistral_large4")
    disk_names: ClassVar = {
        "vision_projection.": "multi_modal_projector.",
        # Mistral's own names, which Mistral Large 4 is saved with
        "pre_mm_projector_norm.": "multi_modal_projector.norm.",
        "patch_merger.": "multi_modal_projector.patch_merger.",
        "vision_language_adapter.w_in.": "multi_modal_projector.linear_1.",
        "vision_language_adapter.w_out.": "multi_modal_projector.linear_2.",
    }

    def __init__(self, config: Mistral3ConnectorConfig, tower: TowerOutput) -> None:
        super().__init__(config, tower)
        if tower.num_layers > 1:
            message = f"the connector mistral3 reads one hidden state, not {tower.num_layers}"
            raise ConfigError(Problem("VC211", message, "select_layers"))

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        return super().fields_of(vlm) | {
            "act": vlm.get("projector_hidden_act"),
            "bias": vlm.get("multimodal_projector_bias"),
            "spatial_merge_size": vlm.get("spatial_merge_size"),
            "rms_norm_eps": text_field(vlm, "rms_norm_eps"),
        }

    def shapes(self) -> Shapes:
        width, out, bias = self.tower.width, self.config.hidden_size, self.config.bias
        layers: Shapes = {"norm.weight": (width,)}
        layers |= linear(
            "patch_merger.merging_layer", width * self.config.spatial_merge_size**2, width, bias=False
        )
        layers |= linear("linear_1", width, out, bias=bias) | linear("linear_2", out, out, bias=bias)
        return below(self.projector, layers)

    def num_rows(self, image: ImageOfTiles) -> int:
        frames, rows, columns = image.grid
        size = self.config.spatial_merge_size
        if rows < size or columns < size:
            raise InputError(
                f"{rows}x{columns} patches are less than one square of {size}x{size}; enlarge the image"
            )
        return frames * (rows // size) * (columns // size)

    @property
    def planar(self) -> bool:
        return self.tower.planar

    def row_grid(self, grid: Grid) -> Grid | None:
        frames, rows, columns = grid
        size = self.config.spatial_merge_size
        return frames, rows // size, columns // size

    def build(self) -> nn.Module:
        projector = transformers_class("mistral3.modeling_mistral3", "Mistral3MultiModalProjector")
        config = SimpleNamespace(
            vision_config=SimpleNamespace(
                hidden_size=self.tower.width, patch_size=self.tower.info.patch_size
            ),
            text_config=SimpleNamespace(
                hidden_size=self.config.hidden_size, rms_norm_eps=self.config.rms_norm_eps
            ),
            spatial_merge_size=self.config.spatial_merge_size,
            vision_feature_layer=-1,
            projector_hidden_act=self.config.act,
            multimodal_projector_bias=self.config.bias,
        )
        return parts(multi_modal_projector=projector(config))

    def project(self, module: nn.Module, tokens: Tensor, grids: Tensor) -> Tensor:
        sizes = (grids[:, 1:] * self.tower.info.patch_size).tolist()
        rows: Tensor = module.get_submodule(self.projector)(tokens, sizes)
        return rows
