"""InternVL's connector."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ..encoders import Grid
from ..encoders.shapes import Shapes, below, layer_norm, linear
from ..errors import ConfigError, InputError, Problem
from ..schemas.connectors import ConnectorConfig
from ..schemas.connectors.internvl import InternVLConnectorConfig
from .base import TileConnector, parts, transformers_class

if TYPE_CHECKING:
    from torch import Tensor, nn

S = TypeVar("S", bound=ConnectorConfig)


class SquaresOfTokens(TileConnector[S], Generic[S]):
    """Connectors that make one row of every square of tokens of a tile."""

    reads = "patches"
    takes_squares = True

    @property
    @abstractmethod
    def factor(self) -> int:
        """Tokens along a side of a square."""

    @property
    def square_width(self) -> int:
        """Features of all tokens of a square."""
        return self.tower.width * self.factor**2

    @property
    def planar(self) -> bool:
        return self.tower.planar

    def row_grid(self, grid: Grid) -> Grid | None:
        frames, rows, columns = grid
        return frames, rows // self.factor, columns // self.factor

    def num_tile_rows(self, grid: Grid) -> int:
        _, rows, columns = grid
        if rows % self.factor or columns % self.factor:
            raise InputError(
                f"{rows}x{columns} patches are no whole squares of {self.factor}x{self.factor}, which the "
                f"connector {self.type!r} joins"
            )
        return rows * columns // self.factor**2


class InternVLConnector(SquaresOfTokens[InternVLConnectorConfig]):
    """Squares of tokens, a norm, and two linear layers. Source: ``InternVLModel.get_image_features``."""

    type = "internvl"
    read_by: ClassVar = ("internvl", "qianfan_ocr")
    disk_names: ClassVar = {
        "mlp1.0.": "multi_modal_projector.layer_norm.",
        "mlp1.1.": "multi_modal_projector.linear_1.",
        "mlp1.3.": "multi_modal_projector.linear_2.",
    }

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        ratio = vlm.get("downsample_ratio")
        if ratio is not None and not (isinstance(ratio, (int, float)) and 0.001 < ratio <= 1):
            message = f"expected a number above 0.001 and up to 1, got {repr(ratio)[:80]}"
            raise ConfigError(Problem("VC104", message, "downsample_ratio"))
        return super().fields_of(vlm) | {
            "downsample_factor": None if ratio is None else int(1 / ratio),
            "act": vlm.get("projector_hidden_act"),
        }

    @property
    def factor(self) -> int:
        return self.config.downsample_factor

    def shapes(self) -> Shapes:
        width = self.config.hidden_size
        layers = layer_norm("layer_norm", self.square_width) | linear("linear_1", self.square_width, width)
        return below(self.projector, layers | linear("linear_2", width, width))

    def build(self) -> nn.Module:
        projector = transformers_class("internvl.modeling_internvl", "InternVLMultiModalProjector")
        config = self.vlm_config(
            downsample_ratio=1 / self.factor,
            projector_hidden_act=self.config.act,
        )
        return parts(multi_modal_projector=projector(config))

    def project(self, module: nn.Module, features: Tensor) -> Tensor:
        return super().project(module, space_to_depth(features, self.factor))


def space_to_depth(tiles: Tensor, factor: int) -> Tensor:
    """Join squares of tokens: (tiles, side * side, width) to (tiles, squares, factor * factor * width).

    The features of a square are those of its tokens row by row.
    """
    count, tokens, width = tiles.shape
    side = round(tokens**0.5)
    squares = tiles.reshape(count, side // factor, factor, side // factor, factor, width)
    return squares.transpose(2, 3).reshape(count, -1, factor * factor * width)
