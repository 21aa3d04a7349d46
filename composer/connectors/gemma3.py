"""Gemma 3's connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders import Grid
from ..encoders.shapes import Shapes, below
from ..errors import ConfigError, InputError, Problem
from ..schemas.connectors.gemma3 import Gemma3ConnectorConfig
from .base import TileConnector, TowerOutput, parts, transformers_class

if TYPE_CHECKING:
    from torch import nn


class Gemma3Connector(TileConnector[Gemma3ConnectorConfig]):
    """Squares of tokens averaged, a norm, and a product. The norm multiplies by one plus its weight."""

    type = "gemma3"
    reads = "patches"
    takes_squares = True
    read_by: ClassVar = ("gemma3", "shieldgemma2", "t5gemma2")

    def __init__(self, config: Gemma3ConnectorConfig, tower: TowerOutput) -> None:
        super().__init__(config, tower)
        if config.mm_tokens_per_image > self._side**2:
            patches = f"{self._side}x{self._side} patches"
            message = f"{config.mm_tokens_per_image} rows are more than the {patches} of an image"
            raise ConfigError(Problem("VC211", message, "connector.mm_tokens_per_image"))

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        return super().fields_of(vlm) | {"mm_tokens_per_image": vlm.get("mm_tokens_per_image")}

    @property
    def _side(self) -> int:
        """Patches along a side of the images that transformers' module is made for."""
        return self.tower.info.patch_grid_length

    def shapes(self) -> Shapes:
        width = self.tower.width
        projection = (width, self.config.hidden_size)
        layers = {"mm_input_projection_weight": projection, "mm_soft_emb_norm.weight": (width,)}
        return below(self.projector, layers)

    def num_tile_rows(self, grid: Grid) -> int:
        if grid[1] != self._side:
            raise InputError(
                f"the connector 'gemma3' takes {self._side}x{self._side} patches, not {grid[1]}x{grid[2]}"
            )
        kernel = self._side // int(self.config.mm_tokens_per_image**0.5)
        return int((self._side // kernel) ** 2)

    def build(self) -> nn.Module:
        projector = transformers_class("gemma3.modeling_gemma3", "Gemma3MultiModalProjector")
        info = self.tower.info
        config = self.vlm_config(
            vision={
                "layer_norm_eps": getattr(self.tower.encoder, "layer_norm_eps", 1e-6),
                "image_size": info.image_size,
                "patch_size": info.patch_size,
            },
            mm_tokens_per_image=self.config.mm_tokens_per_image,
        )
        return parts(multi_modal_projector=projector(config))
