"""LFM2-VL's connector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders import Grid
from ..encoders.shapes import Shapes, below, layer_norm, linear
from ..errors import ConfigError, InputError, Problem
from ..images.resize import TokenPixelBudget
from ..schemas.connectors.lfm2_vl import Lfm2VlConnectorConfig
from .base import Connector, ImageOfTiles, TowerOutput, parts, transformers_class

if TYPE_CHECKING:
    from torch import Tensor, nn


class Lfm2VlConnector(Connector[Lfm2VlConnectorConfig]):
    """Squares of tokens and two linear layers, on images of any size.

    Raises:
        ConfigError: If the image processor makes images that are no whole squares.
    """

    type = "lfm2_vl"
    reads = "patches"
    read_by: ClassVar = ("lfm2_vl",)

    def __init__(self, config: Lfm2VlConnectorConfig, tower: TowerOutput) -> None:
        super().__init__(config, tower)
        rule, factor = tower.info.resize, config.downsample_factor
        if isinstance(rule, TokenPixelBudget) and (multiple := rule.factor // rule.patch_size) % factor:
            message = (
                f"squares of {factor}x{factor} patches do not fill an image, whose sides the image processor "
                f"makes multiples of {multiple} patches"
            )
            raise ConfigError(Problem("VC211", message, "connector.downsample_factor"))

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        return super().fields_of(vlm) | {
            "downsample_factor": vlm.get("downsample_factor"),
            "intermediate_size": vlm.get("projector_hidden_size"),
            "use_layer_norm": vlm.get("projector_use_layernorm"),
            "act": vlm.get("projector_hidden_act"),
            "bias": vlm.get("projector_bias"),
        }

    def shapes(self) -> Shapes:
        config, inputs = self.config, self.tower.width * self.config.downsample_factor**2
        layers = layer_norm("layer_norm", inputs) if config.use_layer_norm else {}
        layers |= linear("linear_1", inputs, config.intermediate_size, bias=config.bias)
        layers |= linear("linear_2", config.intermediate_size, config.hidden_size, bias=config.bias)
        return below(self.projector, layers)

    def num_rows(self, image: ImageOfTiles) -> int:
        return sum(map(self._num_tile_rows, image.grid_of_each))

    def _num_tile_rows(self, grid: Grid) -> int:
        frames, rows, columns = grid
        factor = self.config.downsample_factor
        if rows % factor or columns % factor:
            raise InputError(
                f"{rows}x{columns} patches are no whole squares of {factor}x{factor}; resize the image as "
                "its processor does"
            )
        return frames * rows * columns // factor**2

    def build(self) -> nn.Module:
        projector = transformers_class("lfm2_vl.modeling_lfm2_vl", "Lfm2VlMultiModalProjector")
        config = self.vlm_config(
            downsample_factor=self.config.downsample_factor,
            projector_use_layernorm=self.config.use_layer_norm,
            projector_hidden_size=self.config.intermediate_size,
            projector_hidden_act=self.config.act,
            projector_bias=self.config.bias,
        )
        return parts(multi_modal_projector=projector(config))

    def run(
        self, module: nn.Module, features: Tensor | tuple[Tensor, ...], images: Sequence[ImageOfTiles]
    ) -> tuple[Tensor, ...]:
        import torch

        projector = module.get_submodule(self.projector)
        tiles = iter(features)
        rows = []
        for image in images:
            self.num_rows(image)  # raises if its patches are no whole squares
            of_tiles = [
                projector(next(tiles).reshape(1, height, width, -1)).flatten(0, 2)
                for _, height, width in image.grid_of_each
            ]
            rows.append(torch.cat(of_tiles))
        return tuple(rows)
