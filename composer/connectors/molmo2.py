"""Molmo2's connector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, linear, matrix_values
from ..schemas.connectors.molmo2 import Molmo2ConnectorConfig
from .base import Connector, ImageOfTiles, parts, transformers_class

if TYPE_CHECKING:
    from torch import Tensor, nn

_ON_DISK = {
    "image_pooling_2d.wq": "image_pooling_2d.q_proj",
    "image_pooling_2d.wk": "image_pooling_2d.k_proj",
    "image_pooling_2d.wv": "image_pooling_2d.v_proj",
    "image_pooling_2d.wo": "image_pooling_2d.o_proj",
    "image_projector.w1": "image_projector.gate_proj",
    "image_projector.w2": "image_projector.down_proj",
    "image_projector.w3": "image_projector.up_proj",
}


class Molmo2Connector(Connector[Molmo2ConnectorConfig]):
    """Windows of patches, of the image whole and of its crops put together, each pooled into one row.

    Where crops overlap, a patch is taken from the crop in which it lies further inside.
    """

    type = "molmo2"
    reads = "patches"
    read_by: ClassVar = ("molmo2",)
    of_processor: ClassVar = ("pooling_size",)
    disk_names: ClassVar = {
        f"vision_backbone.{theirs}": f"multi_modal_projector.{ours}" for theirs, ours in _ON_DISK.items()
    }

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        adapter = vlm.get("adapter_config")
        own = adapter if isinstance(adapter, Mapping) else {}
        same = ("num_attention_heads", "num_key_value_heads", "head_dim", "attention_bias")
        fields = {name: own.get(name) for name in (*same, "intermediate_size", "mlp_bias")}
        return fields | {"hidden_size": own.get("text_hidden_size", 3584), "act": own.get("hidden_act")}

    # --- facts ----------------------------------------------------------------------------------------

    def shapes(self) -> Shapes:
        return below(self.projector, self._once() | self._of_each_patch())

    def _once(self) -> Shapes:
        """Return the tensors that are applied to every row."""
        config, width = self.config, self.tower.width // self.tower.num_layers
        heads = config.num_attention_heads * config.head_dim
        return {
            **linear("image_pooling_2d.q_proj", self.tower.width, heads, bias=config.attention_bias),
            **linear("image_pooling_2d.o_proj", heads, width, bias=config.attention_bias),
            **linear("image_projector.gate_proj", width, config.intermediate_size, bias=config.mlp_bias),
            **linear("image_projector.up_proj", width, config.intermediate_size, bias=config.mlp_bias),
            **linear("image_projector.down_proj", config.intermediate_size, config.hidden_size, bias=False),
        }

    def _of_each_patch(self) -> Shapes:
        """Return the tensors that are applied to every patch of a row."""
        config = self.config
        heads = config.num_key_value_heads * config.head_dim
        keys = linear("image_pooling_2d.k_proj", self.tower.width, heads, bias=config.attention_bias)
        return keys | linear("image_pooling_2d.v_proj", self.tower.width, heads, bias=config.attention_bias)

    def num_rows(self, image: ImageOfTiles) -> int:
        _, rows, columns = image.grid
        patch = self.tower.info.patch_size
        across, down = (length // patch for length in image.tiles.canvas)
        return self._num_windows(rows, columns) + self._num_windows(down, across)

    def _num_windows(self, rows: int, columns: int) -> int:
        down, across = self.config.pooling_size
        return -(-rows // down) * -(-columns // across)

    def flops(self, image: ImageOfTiles) -> int:
        config, (down, across) = self.config, self.config.pooling_size
        patches = down * across
        attention = 2 * patches * config.num_attention_heads * config.head_dim
        products = matrix_values(self._once()) + patches * matrix_values(self._of_each_patch()) + attention
        return 2 * self.num_rows(image) * products

    # --- building and running -------------------------------------------------------------------------

    def build(self) -> nn.Module:
        config, layers = self.config, self.tower.num_layers
        adapter = transformers_class("molmo2.modeling_molmo2", "Molmo2Adapter")
        fields = transformers_class("molmo2.configuration_molmo2", "Molmo2AdapterConfig")(
            hidden_size=self.tower.width // layers,
            vision_feature_layer=list(range(layers)),
            num_attention_heads=config.num_attention_heads,
            num_key_value_heads=config.num_key_value_heads,
            head_dim=config.head_dim,
            attention_bias=config.attention_bias,
            hidden_act=config.act,
            intermediate_size=config.intermediate_size,
            text_hidden_size=config.hidden_size,
            mlp_bias=config.mlp_bias,
        )
        return parts(multi_modal_projector=adapter(fields))

    def run(
        self, module: nn.Module, features: Tensor | tuple[Tensor, ...], images: Sequence[ImageOfTiles]
    ) -> tuple[Tensor, ...]:
        import torch

        tiles = self.stacked(features)
        windows, start = [], 0
        for image in images:
            of_image = self._windows(image)
            windows.append(torch.where(of_image >= 0, of_image + start, -1))
            start += image.tiles.num_tiles * tiles.shape[1]
        projector = module.get_submodule(self.projector)
        rows = projector(tiles, torch.cat(windows).to(tiles.device)).last_hidden_state
        return torch.split(rows, list(map(len, windows)))

    def _windows(self, image: ImageOfTiles) -> Tensor:
        """Return the patches of every row of an image, (rows, patches); -1 is none."""
        import torch

        _, height, width = image.grid
        places = torch.arange(image.tiles.num_tiles * height * width).view(-1, height, width)
        whole = self._pooled(places[0])
        if not image.tiles.rows:
            return whole
        crops = places[1:].view(image.tiles.rows, image.tiles.columns, height, width)
        before, behind = (margin // self.tower.info.patch_size for margin in image.tiles.margins)
        bands = []
        for row, band in enumerate(crops):
            top, bottom = _inside(row, image.tiles.rows, height, before, behind)
            shown = []
            for column, crop in enumerate(band):
                left, right = _inside(column, image.tiles.columns, width, before, behind)
                shown.append(crop[top:bottom, left:right])
            bands.append(torch.cat(shown, dim=1))
        return torch.cat((whole, self._pooled(torch.cat(bands))))

    def _pooled(self, places: Tensor) -> Tensor:
        """Return the windows of a grid of places. What sides lack is added at both ends, more at the last."""
        from torch.nn.functional import pad

        (rows, columns), (down, across) = places.shape, self.config.pooling_size
        more_columns, more_rows = -columns % across, -rows % down
        ends = (more_columns // 2, (more_columns + 1) // 2, more_rows // 2, (more_rows + 1) // 2)
        padded = pad(places, ends, value=-1)
        return padded.unfold(0, down, down).unfold(1, across, across).flatten(0, 1).flatten(1)


def _inside(index: int, number: int, length: int, before: int, behind: int) -> tuple[int, int]:
    """Return where the patches begin and end that are taken from one of some crops in a row."""
    return before if index else 0, length if index == number - 1 else length - behind
