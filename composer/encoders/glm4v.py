"""GLM-4V (``Glm4vVisionModel``): a position table and a rope, and a convolution before the merger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isqrt
from typing import TYPE_CHECKING, ClassVar

from ..images.resize import EnlargingPixelBudget, ResizeRule
from ..schemas.encoders.glm4v import Glm4vVisionEncoderConfig
from .base import FromTransformers
from .qwen_vl import QwenVL
from .reading import Reading
from .shapes import Part, Shapes, gated_mlp, layer_norm, linear, num_positions

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .layout import Layout
    from .packed import PackedBatch


class GLM4V(QwenVL[Glm4vVisionEncoderConfig]):
    """The family of glm4v_vision. Frames of a clip do not attend to each other."""

    model_type = "glm4v_vision"
    module = "transformers.models.glm4v.modeling_glm4v"
    model_class = "Glm4vVisionModel"
    config_class = "Glm4vVisionConfig"
    other_names = ("glm4v", "glm4v_moe")
    read_by: ClassVar = dict.fromkeys(("glm4v", "glm4v_moe", "glm46v"), Reading())
    post_norm = "post_layernorm"
    patch_bias = True
    tiny: ClassVar = {"out_hidden_size": 24}
    image_processor = "Glm4vImageProcessorPil"
    min_pixels = 112 * 112
    max_pixels = 28 * 28 * 15000

    def resize_rule(
        self, encoder: Glm4vVisionEncoderConfig, processor: FromTransformers = None
    ) -> ResizeRule:
        factor = encoder.patch_size * encoder.spatial_merge_size
        bounds = self.pixel_bounds(processor)
        return EnlargingPixelBudget(factor, *bounds, frames=encoder.temporal_patch_size)

    def stem_shapes(self, encoder: Glm4vVisionEncoderConfig) -> Shapes:
        return {
            **super().stem_shapes(encoder),
            "post_conv_layernorm.weight": (encoder.width,),
            "embeddings.position_embedding.weight": (num_positions(encoder), encoder.width),
        }

    def block_shapes(self, encoder: Glm4vVisionEncoderConfig) -> Shapes:
        width = encoder.width
        return {
            "norm1.weight": (width,),
            "norm2.weight": (width,),
            **linear("attn.qkv", width, 3 * width, bias=encoder.attention_bias),
            **linear("attn.proj", width, width, bias=False),
            **gated_mlp("mlp", width, encoder.mlp_width, bias=False),
        }

    def norm_shapes(self, encoder: Glm4vVisionEncoderConfig) -> Shapes:
        return {"weight": (encoder.width,)}

    def head_modules(self) -> tuple[str, ...]:
        return ("downsample", "merger")

    def head_shapes(self, encoder: Glm4vVisionEncoderConfig) -> Shapes:
        width = encoder.merged_width
        return {
            **linear("proj", width, width, bias=False),
            **layer_norm("post_projection_norm", width),
            **linear("gate_proj", width, encoder.intermediate_size, bias=False),
            **linear("up_proj", width, encoder.intermediate_size, bias=False),
            **linear("down_proj", encoder.intermediate_size, width, bias=False),
        }

    def parts(
        self, encoder: Glm4vVisionEncoderConfig, num_blocks: int, *, post_norm: bool, head: bool
    ) -> list[Part]:
        parts = super().parts(encoder, num_blocks, post_norm=post_norm, head=head) or []
        if head:
            width, merge = encoder.merged_width, encoder.spatial_merge_size
            weight = (width, encoder.width, merge, merge)
            parts.append(Part({"downsample.weight": weight, "downsample.bias": (width,)}))
        return parts

    def head_flops(self, encoder: Glm4vVisionEncoderConfig, num_tokens: int) -> int:
        merged, width = num_tokens // encoder.spatial_merge_size**2, encoder.merged_width
        joined = encoder.width * encoder.spatial_merge_size**2
        return 2 * merged * width * (joined + width + 3 * encoder.intermediate_size)

    def reference_inputs(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        grids = inputs["image_grid_thw"]
        frames = grids.repeat_interleave(grids[:, 0], dim=0)
        frames[:, 0] = 1  # transformers' class takes a clip as single frames
        return {"hidden_states": inputs["pixel_values"], "grid_thw": frames}

    # --- running --------------------------------------------------------------------------------------

    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> Layout:
        from .layout import table_taps

        grids = batch.grids
        side = isqrt(len(model.embeddings.position_embedding.weight))
        rows, weights = table_taps(grids, model.config.spatial_merge_size, side, cubic=True)
        plain = super().layout(model, batch, device, dtype)
        return replace(plain, position_taps=(rows.to(device), weights.to(device)))

    def stem(self, model: FromTransformers, pixels: Tensor, layout: Layout) -> Tensor:
        from torch.nn.functional import embedding_bag

        patches: Tensor = model.post_conv_layernorm(super().stem(model, pixels, layout))
        if layout.position_taps is None:
            return patches
        rows, weights = layout.position_taps
        table = model.embeddings.position_embedding.weight
        positions = embedding_bag(rows, table.float(), per_sample_weights=weights, mode="sum")
        return patches + positions.to(table.dtype)

    def merged(self, model: FromTransformers, hidden_states: Tensor, layout: Layout) -> Tensor:
        merge = model.config.spatial_merge_size
        squares = hidden_states.view(-1, merge, merge, hidden_states.shape[-1]).permute(0, 3, 1, 2)
        merged: Tensor = model.merger(model.downsample(squares).flatten(1))
        return merged
