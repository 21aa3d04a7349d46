"""Qwen3-VL (``Qwen3VLVisionModel``): Qwen3.5's tower, and DeepStack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..schemas.encoders.qwen3_vl import Qwen3VLVisionEncoderConfig
from .base import Shapes
from .qwen3_5 import Qwen35, merger_shapes

if TYPE_CHECKING:
    from torch import Tensor


class Qwen3VL(Qwen35):
    """qwen3_vl_vision."""

    model_type = "qwen3_vl_vision"
    module = "transformers.models.qwen3_vl.modeling_qwen3_vl"
    model_class = "Qwen3VLVisionModel"
    config_class = "Qwen3VLVisionConfig"
    tiny: ClassVar = {**Qwen35.tiny, "deepstack_visual_indexes": [0, 1]}

    def head_modules(self) -> tuple[str, ...]:
        return ("merger", "deepstack_merger_list")

    def shapes(self, encoder: Any, num_blocks: int, *, post_norm: bool, head: bool) -> Shapes | None:
        shapes = super().shapes(encoder, num_blocks, post_norm=post_norm, head=head)
        return (shapes or {}) | self._deepstack_shapes(encoder)

    def _deepstack_shapes(self, encoder: Qwen3VLVisionEncoderConfig) -> Shapes:
        joined = encoder.width * encoder.spatial_merge_size**2
        return {
            f"deepstack_merger_list.{i}.{name}": shape
            for i in range(len(encoder.deepstack_visual_indexes))
            for name, shape in merger_shapes(encoder, norm_width=joined).items()
        }

    def merged_level(self, model: Any, layer: int, hidden_states: Tensor) -> Tensor:
        level = list(model.config.deepstack_visual_indexes).index(layer - 1)
        merged: Tensor = model.deepstack_merger_list[level](hidden_states)
        return merged
