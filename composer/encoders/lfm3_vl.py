"""LFM3-VL (``Lfm3VlVisionModel``): gated convolutions over the patches' grid, attention in some blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..schemas.encoders.lfm3_vl import Lfm3VlVisionEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .facts import VisionEncoderInfo
from .layout import RopeLayout
from .patch_rows import RopeRowsFamily
from .reading import Reading
from .shapes import Part, Shapes, linear, linear_patches, matrix_values

if TYPE_CHECKING:
    from torch import Tensor


class Lfm3Vl(RopeRowsFamily[Lfm3VlVisionEncoderConfig, RopeLayout]):
    """The family of lfm3_vl_vision. Patches are in Qwen-VL's order; the connector merges them.

    Tensors have the names of published checkpoints, which transformers renames.
    """

    model_type = "lfm3_vl_vision"
    module = "transformers.models.lfm3_vl.modeling_lfm3_vl"
    model_class = "Lfm3VlVisionModel"
    config_class = "Lfm3VlVisionConfig"
    read_by: ClassVar = {"lfm3_vl": Reading()}
    blocks = "layers"
    post_norm = ""
    patch_projection = "patch_embed"
    by_squares = True
    image_processor = "Qwen2VLImageProcessor"
    tiny: ClassVar = {"num_key_value_heads": 2}

    # --- facts ----------------------------------------------------------------------------------------

    def stem_shapes(self, encoder: Lfm3VlVisionEncoderConfig) -> Shapes:
        return {
            **linear_patches("patchifier", encoder, bias=False, frames=encoder.temporal_patch_size),
            "embedding_norm.weight": (encoder.hidden_size,),
        }

    def block_shapes(self, encoder: Lfm3VlVisionEncoderConfig) -> Shapes:
        width, inner = encoder.hidden_size, encoder.intermediate_size
        return {
            "operator_norm.weight": (width,),
            "ffn_norm.weight": (width,),
            **linear("feed_forward.w1", width, inner, bias=False),
            **linear("feed_forward.w3", width, inner, bias=False),
            **linear("feed_forward.w2", inner, width, bias=False),
        }

    def parts(
        self, encoder: Lfm3VlVisionEncoderConfig, num_blocks: int, *, post_norm: bool, head: bool
    ) -> list[Part]:
        parts = super().parts(encoder, num_blocks, post_norm=post_norm, head=head) or []
        for kind, shapes in _operators(encoder).items():
            blocks = [block for block in range(num_blocks) if encoder.kinds[block] == kind]
            parts.append(Part(shapes, self.block_name, blocks))
        return parts

    def attention_pairs(
        self,
        encoder: Lfm3VlVisionEncoderConfig,
        num_blocks: int,
        info: VisionEncoderInfo,
        size: tuple[int, int],
    ) -> int:
        attending = encoder.kinds[:num_blocks].count("full_attention")
        return super().attention_pairs(encoder, attending, info, size)

    def extra_flops(
        self,
        encoder: Lfm3VlVisionEncoderConfig,
        num_blocks: int,
        info: VisionEncoderInfo,
        size: tuple[int, int],
    ) -> int:
        """Count the operations of what stands in front of the MLPs."""
        kernel = encoder.hidden_size * encoder.conv_kernel_size**2
        values = {kind: matrix_values(shapes) for kind, shapes in _operators(encoder).items()}
        values["conv"] += kernel
        return 2 * info.sequence_length(*size) * sum(values[kind] for kind in encoder.kinds[:num_blocks])

    def transformers_config(
        self, encoder: Lfm3VlVisionEncoderConfig, num_blocks: int, *, head: bool
    ) -> FromTransformers:
        cut = encoder.model_copy(update={"layer_types": encoder.kinds[:num_blocks]})
        return super().transformers_config(cut, num_blocks, head=head)

    # --- running --------------------------------------------------------------------------------------

    def padding(self, info: VisionEncoderInfo) -> None:
        return None  # convolutions run over each grid

    def stem(self, model: FromTransformers, pixels: Tensor, layout: RopeLayout) -> Tensor:
        embedded: Tensor = model.embedding_norm(model.patch_embed(pixels))
        return embedded

    def block_inputs(self, block: int, layout: RopeLayout) -> BlockInputs:
        return super().block_inputs(block, layout) | {"grid_thw": [list(grid) for grid in layout.grids]}


def _operators(encoder: Lfm3VlVisionEncoderConfig) -> dict[str, Shapes]:
    """Return what stands in front of the MLP of each kind of block."""
    width, head = encoder.hidden_size, encoder.head_size
    keys = encoder.num_key_value_heads * head
    kernel = (width, 1, encoder.conv_kernel_size, encoder.conv_kernel_size)
    return {
        "conv": {
            **linear("conv.in_proj", width, 3 * width, bias=False),
            "conv.spatial_conv.weight": kernel,
            **linear("conv.out_proj", width, width, bias=False),
        },
        "full_attention": {
            **linear("self_attn.q_proj", width, width, bias=False),
            **linear("self_attn.k_proj", width, keys, bias=False),
            **linear("self_attn.v_proj", width, keys, bias=False),
            **linear("self_attn.out_proj", width, width, bias=False),
            "self_attn.q_layernorm.weight": (head,),
            "self_attn.k_layernorm.weight": (head,),
        },
    }
