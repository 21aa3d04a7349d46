"""Phi-4-multimodal's connector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, linear, matrix_values
from ..errors import ConfigError, Problem
from ..images.tiling.phi4_multimodal import valid_patches
from ..schemas.connectors.phi4_multimodal import Phi4MultimodalConnectorConfig
from .base import Connector, ImageOfTiles, parts

if TYPE_CHECKING:
    from torch import Tensor, nn

_PLACE = "embed_tokens_extend.image_embed"


class Phi4MultimodalConnector(Connector[Phi4MultimodalConnectorConfig]):
    """The lines of the tiles without padding, a separator, and the lines of the image whole.

    A learned row ends each line. Source: ``Phi4MultimodalImageEmbedding.forward``.
    """

    type = "phi4_multimodal"
    reads = "patches"
    read_by: ClassVar = ("phi4_multimodal",)

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        vision = vlm["vision_config"]
        crop, image = (vision.get(name, 448) for name in ("crop_size", "image_size"))
        if crop != image:
            message = f"{crop!r} is not image_size {image!r}: tiles have the tower's size"
            raise ConfigError(Problem("VC104", message, "vision_config.crop_size"))
        return {"hidden_size": vlm.get("hidden_size", 3072)}

    def shapes(self) -> Shapes:
        width, hidden = self.tower.width, self.config.hidden_size
        return below(
            _PLACE,
            {
                "global_img_feature_extensor": (1, 1, width),
                "sub_img_feature_extensor": (1, 1, 1, width),
                **linear("img_projection_up", width, hidden),
                **linear("img_projection_down", hidden, hidden),
            },
        )

    def num_rows(self, image: ImageOfTiles) -> int:
        _, rows, columns = image.grid
        whole = _half(rows) * (_half(columns) + 1) + 1
        lines, length = self._lines(image)
        return whole + lines * (length + 1)

    def flops(self, image: ImageOfTiles) -> int:
        return 2 * self.num_rows(image) * matrix_values(self.shapes())

    def _lines(self, image: ImageOfTiles) -> tuple[int, int]:
        """Return how many lines of how many squares the tiles have without those of padding alone."""
        if not image.tiles.rows:
            return 0, 0
        _, rows, columns = image.grid
        valid_rows, valid_columns = valid_patches(image.tiles, self.tower.info.patch_size)
        return _squares(valid_rows, rows), _squares(valid_columns, columns)

    def build(self) -> nn.Module:
        import torch

        width, hidden = self.tower.width, self.config.hidden_size
        image_embed = parts(
            global_img_feature_extensor=torch.zeros(1, 1, width),
            sub_img_feature_extensor=torch.zeros(1, 1, 1, width),
            img_projection_up=torch.nn.Linear(width, hidden),
            img_projection_down=torch.nn.Linear(hidden, hidden),
        )
        return parts(embed_tokens_extend=parts(image_embed=image_embed))

    def run(
        self, module: nn.Module, features: Tensor | tuple[Tensor, ...], images: Sequence[ImageOfTiles]
    ) -> tuple[Tensor, ...]:
        import torch
        from torch.nn.functional import avg_pool2d, gelu, pad

        own = module.get_submodule(_PLACE)
        tiles = self.stacked(features)
        _, rows, columns = images[0].grid
        patches = tiles.view(len(tiles), rows, columns, -1).permute(0, 3, 1, 2)
        if rows % 2 or columns % 2:  # a last row or column that repeats the last but one
            patches = pad(patches, (0, columns % 2, 0, rows % 2), mode="reflect")
        squares = avg_pool2d(patches, 2).permute(0, 2, 3, 1)
        ends, found = own.get_parameter("sub_img_feature_extensor")[0], []
        of_images = torch.split(squares, [image.tiles.num_tiles for image in images])
        for image, views in zip(images, of_images, strict=True):
            lines, length = self._lines(image)
            if lines:
                grid = views[1:].reshape(image.tiles.rows, image.tiles.columns, *views.shape[1:])
                canvas = grid.transpose(1, 2).flatten(2, 3).flatten(0, 1)
                found.append(_ended(canvas[:lines, :length], ends))
            found += [own.get_parameter("global_img_feature_extensor")[0], _ended(views[0], ends)]
        inner = own.get_submodule("img_projection_up")(torch.cat(found))
        made = own.get_submodule("img_projection_down")(gelu(inner))
        return torch.split(made, [self.num_rows(image) for image in images])


def _ended(lines: Tensor, end: Tensor) -> Tensor:
    """Return lines (lines, length, width) one after the other, the row ``end`` (1, 1, width) behind each."""
    import torch

    return torch.cat((lines, end.expand(len(lines), 1, -1)), dim=1).flatten(0, 1)


def _half(patches: int) -> int:
    """Count the squares of two patches along a side, the last of which may be half filled."""
    return -(-patches // 2)


def _squares(valid: int, of_tile: int) -> int:
    """Count the squares along some tiles that begin with a patch that is no padding."""
    whole, rest = divmod(valid, of_tile)
    return whole * _half(of_tile) + _half(rest)
