"""Qwen3.5 (``Qwen3_5VisionModel``): a learned position table, which is interpolated to each image."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from ..schemas.encoders.qwen3_5 import Qwen3_5VisionEncoderConfig
from .aliases import FromTransformers
from .layout import TableLayout
from .patch_embedding import weighted_rows
from .qwen_vl import QwenVL
from .reading import Reading
from .shapes import Shapes, layer_norm, linear

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .packed import PackedBatch


P = TypeVar("P", bound=Qwen3_5VisionEncoderConfig)


class Qwen35(QwenVL[P, TableLayout], Generic[P]):
    """The family of qwen3_5_vision."""

    model_type = "qwen3_5_vision"
    module = "transformers.models.qwen3_5.modeling_qwen3_5"
    model_class = "Qwen3_5VisionModel"
    config_class = "Qwen3_5VisionConfig"
    other_names: ClassVar[tuple[str, ...]] = ("qwen3_5", "qwen3_5_moe", "qwen4_exp")
    read_by: ClassVar = dict.fromkeys(("qwen3_5", "qwen3_5_moe", "qwen4_exp"), Reading())
    tiny: ClassVar = {"out_hidden_size": 24, "num_position_embeddings": 25, "patch_size": 32}
    patch_bias = True
    min_pixels = 256 * 256
    max_pixels = 4096 * 4096

    def image_processor_defaults(self, encoder: P) -> dict[str, object]:
        half = [0.5, 0.5, 0.5]
        return super().image_processor_defaults(encoder) | {"image_mean": half, "image_std": half}

    def stem_shapes(self, encoder: P) -> Shapes:
        table: Shapes = {"pos_embed.weight": (encoder.num_position_embeddings, encoder.width)}
        return super().stem_shapes(encoder) | table

    def block_shapes(self, encoder: P) -> Shapes:
        width = encoder.width
        return {
            **layer_norm("norm1", width),
            **layer_norm("norm2", width),
            **self.attention_shapes(encoder),
            **linear("mlp.linear_fc1", width, encoder.mlp_width),
            **linear("mlp.linear_fc2", encoder.mlp_width, width),
        }

    def head_shapes(self, encoder: P) -> Shapes:
        return self.merger_shapes(encoder, encoder.width)

    def merger_shapes(self, encoder: P, norm_width: int) -> Shapes:
        """Return the tensors of a merger whose norm takes ``norm_width`` features."""
        joined = encoder.width * encoder.spatial_merge_size**2
        return {
            **layer_norm("norm", norm_width),
            **linear("linear_fc1", joined, joined),
            **linear("linear_fc2", joined, encoder.merged_width),
        }

    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> TableLayout:
        side = isqrt(model.config.num_position_embeddings)
        return self.table_layout(model, batch.grids, device, side, "corners")

    def stem(self, model: FromTransformers, pixels: Tensor, layout: TableLayout) -> Tensor:
        patches = super().stem(model, pixels, layout)
        positions = weighted_rows(model.pos_embed, *layout.position_taps)
        return patches + positions.to(patches.dtype)
