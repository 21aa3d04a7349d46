"""GLM-4V (``Glm4vVisionModel``): a position table and a rope, and a convolution before the merger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from ..schemas.encoders.glm4v import Glm4vVisionEncoderConfig
from .aliases import FromTransformers
from .layout import RopeLayoutT, TableLayout
from .patch_embedding import position_table
from .qwen_vl import QwenVL
from .reading import Reading
from .shapes import Part, Shapes, gated_mlp, layer_norm, linear, num_positions

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .packed import PackedBatch

G = TypeVar("G", bound=Glm4vVisionEncoderConfig)


class GLMVision(QwenVL[G, RopeLayoutT], Generic[G, RopeLayoutT]):
    """The towers of GLM-4V and GLM-OCR. Frames of a clip do not attend to each other."""

    post_norm = "post_layernorm"
    patch_bias = True
    tiny: ClassVar = {"out_hidden_size": 24}
    image_processor = "Glm4vImageProcessor"
    min_pixels = 112 * 112
    max_pixels = 28 * 28 * 15000

    def block_shapes(self, encoder: G) -> Shapes:
        width = encoder.width
        return {
            "norm1.weight": (width,),
            "norm2.weight": (width,),
            **linear("attn.qkv", width, 3 * width, bias=encoder.attention_bias),
            **linear("attn.proj", width, width, bias=False),
            **gated_mlp("mlp", width, encoder.mlp_width, bias=False),
        }

    def norm_shapes(self, encoder: G) -> Shapes:
        return {"weight": (encoder.width,)}

    def head_modules(self) -> tuple[str, ...]:
        return ("downsample", "merger")

    def head_shapes(self, encoder: G) -> Shapes:
        width, inner = encoder.merged_width, encoder.merger_width
        return {
            **linear("proj", width, width, bias=False),
            **layer_norm("post_projection_norm", width),
            **gated_mlp("", width, inner, bias=False),
        }

    def parts(self, encoder: G, num_blocks: int, *, post_norm: bool, head: bool) -> list[Part]:
        parts = super().parts(encoder, num_blocks, post_norm=post_norm, head=head) or []
        if head:
            width, merge = encoder.merged_width, encoder.spatial_merge_size
            weight = (width, encoder.width, merge, merge)
            parts.append(Part({"downsample.weight": weight, "downsample.bias": (width,)}))
        return parts

    def head_flops(self, encoder: G, num_tokens: int) -> int:
        merged, width = num_tokens // encoder.spatial_merge_size**2, encoder.merged_width
        joined = encoder.width * encoder.spatial_merge_size**2
        return 2 * merged * width * (joined + width + 3 * encoder.merger_width)

    def reference_inputs(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        grids = inputs["image_grid_thw"]
        frames = grids.repeat_interleave(grids[:, 0], dim=0)
        frames[:, 0] = 1  # transformers' class takes a clip as single frames
        return {"hidden_states": inputs["pixel_values"], "grid_thw": frames}

    # --- running --------------------------------------------------------------------------------------

    def merged(self, model: FromTransformers, hidden_states: Tensor, layout: RopeLayoutT) -> Tensor:
        merge = model.config.spatial_merge_size
        squares = hidden_states.view(-1, merge, merge, hidden_states.shape[-1]).permute(0, 3, 1, 2)
        merged: Tensor = model.merger(model.downsample(squares).flatten(1))
        return merged


class GLM4V(GLMVision[Glm4vVisionEncoderConfig, TableLayout]):
    """The family of glm4v_vision."""

    model_type = "glm4v_vision"
    module = "transformers.models.glm4v.modeling_glm4v"
    model_class = "Glm4vVisionModel"
    config_class = "Glm4vVisionConfig"
    other_names = ("glm4v", "glm4v_moe")
    read_by: ClassVar = dict.fromkeys(("glm4v", "glm4v_moe", "glm46v", "glmga"), Reading())

    def stem_shapes(self, encoder: Glm4vVisionEncoderConfig) -> Shapes:
        return {
            **super().stem_shapes(encoder),
            "post_conv_layernorm.weight": (encoder.width,),
            "embeddings.position_embedding.weight": (num_positions(encoder), encoder.width),
        }

    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> TableLayout:
        side = model.config.image_size // model.config.patch_size
        return self.table_layout(model, batch.grids, device, side, "bicubic")

    def stem(self, model: FromTransformers, pixels: Tensor, layout: TableLayout) -> Tensor:
        from torch.nn.functional import embedding_bag

        patches: Tensor = model.post_conv_layernorm(super().stem(model, pixels, layout))
        rows, weights = layout.position_taps
        table = position_table(model.embeddings.position_embedding)
        positions = embedding_bag(rows, table.float(), per_sample_weights=weights, mode="sum")
        return patches + positions.to(table.dtype)
