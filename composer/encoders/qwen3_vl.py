"""Qwen3-VL (``Qwen3VLVisionModel``): Qwen3.5's tower with DeepStack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from ..schemas.encoders.qwen3_vl import Qwen3VLVisionEncoderConfig
from .aliases import FromTransformers, Norm, RunBlock
from .layout import TableLayout
from .qwen3_5 import Qwen35
from .reading import Reading
from .shapes import Part

if TYPE_CHECKING:
    from torch import Tensor

    from .packed import PackedBatch


class Qwen3VL(Qwen35[Qwen3VLVisionEncoderConfig]):
    """The family of qwen3_vl_vision."""

    model_type = "qwen3_vl_vision"
    module = "transformers.models.qwen3_vl.modeling_qwen3_vl"
    model_class = "Qwen3VLVisionModel"
    config_class = "Qwen3VLVisionConfig"
    other_names: ClassVar[tuple[str, ...]] = ("qwen3_vl", "qwen3_vl_moe")
    read_by: ClassVar = dict.fromkeys(
        ("qwen3_vl", "qwen3_vl_moe", "cosmos3_omni", "cohere_compass"), Reading()
    )
    tiny: ClassVar = {**Qwen35.tiny, "deepstack_visual_indexes": [0, 1]}
    level_merger: ClassVar[str] = "deepstack_merger_list.{}"
    """Path of the merger of a DeepStack level, by its number."""

    def head_modules(self) -> tuple[str, ...]:
        return ("merger", self.level_merger.partition(".")[0])

    def parts(
        self, encoder: Qwen3VLVisionEncoderConfig, num_blocks: int, *, post_norm: bool, head: bool
    ) -> list[Part]:
        parts = super().parts(encoder, num_blocks, post_norm=post_norm, head=head) or []
        merger = self.merger_shapes(encoder, encoder.width * encoder.spatial_merge_size**2)
        levels = range(len(encoder.deepstack_visual_indexes))
        return [*parts, Part(merger, self.level_merger.format, levels)]

    def own_states(self, encoder: Qwen3VLVisionEncoderConfig) -> tuple[int, ...]:
        return (*(block + 1 for block in encoder.deepstack_layers), encoder.num_hidden_layers)

    def own_state(
        self, model: FromTransformers, layer: int, hidden_states: Tensor, layout: TableLayout
    ) -> Tensor:
        """Merge a hidden state into its DeepStack level."""
        level = list(model.config.deepstack_visual_indexes).index(layer - 1)
        merged: Tensor = model.get_submodule(self.level_merger.format(level))(hidden_states)
        return merged

    def own_output(
        self,
        model: FromTransformers,
        states: Mapping[int, Tensor],
        norm: Norm,
        batch: PackedBatch,
        layout: TableLayout,
        run_block: RunBlock,
    ) -> list[Tensor]:
        """Return the merged last hidden state, then the levels from the shallowest to the deepest."""
        last = max(states)
        levels = [states[k] for k in sorted(states) if k != last]
        if last - 1 in model.config.deepstack_visual_indexes:
            levels.append(self.own_state(model, last, states[last], layout))
        return [self.merged(model, norm(states[last]), layout), *levels]
