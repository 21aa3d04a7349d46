"""GOT-OCR 2's vision tower (``GotOcr2VisionEncoder``). Its blocks keep tokens as a grid. Its own output is
that of its neck, as tokens in raster order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from ..images.resize import ResizeRule
from ..schemas.encoders.got_ocr2 import GotOcr2VisionEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .dense import DenseBatch, DenseFamily
from .facts import VisionEncoderInfo
from .reading import Reading
from .shapes import Part, Shapes, conv_patches, layer_norm, linear

if TYPE_CHECKING:
    from torch import Tensor


class GotOcr2(DenseFamily[GotOcr2VisionEncoderConfig]):
    """The family of got_ocr2_vision."""

    model_type = "got_ocr2_vision"
    module = "transformers.models.got_ocr2.modeling_got_ocr2"
    model_class = "GotOcr2VisionEncoder"
    config_class = "GotOcr2VisionConfig"
    other_names = ("pp_chart2table_vision",)
    read_by: ClassVar = {"got_ocr2": Reading(), "pp_chart2table": Reading()}
    blocks = "layers"
    post_norm = ""
    head = "neck"
    attention_backends = ("eager",)  # the blocks compute attention themselves
    image_processor = "GotOcr2ImageProcessor"
    tiny: ClassVar = {"mlp_dim": 48, "output_channels": 24, "window_size": 3, "global_attn_indexes": [1]}

    def info(
        self, encoder: GotOcr2VisionEncoderConfig, resize: ResizeRule | None = None
    ) -> VisionEncoderInfo:
        return replace(super().info(encoder, resize), out_hidden_size=encoder.output_channels)

    def stem_shapes(self, encoder: GotOcr2VisionEncoderConfig) -> Shapes:
        shapes = conv_patches("patch_embed.projection", encoder)
        if encoder.use_abs_pos:
            side = encoder.image_size // encoder.patch_size
            shapes["pos_embed"] = (1, side, side, encoder.hidden_size)
        return shapes

    def block_shapes(self, encoder: GotOcr2VisionEncoderConfig) -> Shapes:
        width = encoder.hidden_size
        return {
            **linear("attn.qkv", width, 3 * width, bias=encoder.qkv_bias),
            **linear("attn.proj", width, width),
            **layer_norm("layer_norm1", width),
            **layer_norm("layer_norm2", width),
            **linear("mlp.lin1", width, encoder.mlp_dim),
            **linear("mlp.lin2", encoder.mlp_dim, width),
        }

    def parts(
        self, encoder: GotOcr2VisionEncoderConfig, num_blocks: int, *, post_norm: bool, head: bool
    ) -> list[Part]:
        parts = super().parts(encoder, num_blocks, post_norm=post_norm, head=head) or []
        for block in range(num_blocks if encoder.use_rel_pos else 0):
            positions = (2 * _reach(encoder, block) - 1, encoder.head_size)
            shapes: Shapes = {f"attn.rel_pos_{axis}": positions for axis in "hw"}
            parts.append(Part(shapes, self.block_name, (block,)))
        return parts

    def head_shapes(self, encoder: GotOcr2VisionEncoderConfig) -> Shapes:
        channels = encoder.output_channels
        return {
            "conv1.weight": (channels, encoder.hidden_size, 1, 1),
            **layer_norm("layer_norm1", channels),
            "conv2.weight": (channels, channels, 3, 3),
            **layer_norm("layer_norm2", channels),
        }

    def head_flops(self, encoder: GotOcr2VisionEncoderConfig, num_tokens: int) -> int:
        channels = encoder.output_channels
        return 2 * num_tokens * channels * (encoder.hidden_size + 9 * channels)

    def attention_pairs(
        self,
        encoder: GotOcr2VisionEncoderConfig,
        num_blocks: int,
        info: VisionEncoderInfo,
        size: tuple[int, int],
    ) -> int:
        return sum(_tokens(encoder, block) * _reach(encoder, block) ** 2 for block in range(num_blocks))

    def extra_flops(
        self,
        encoder: GotOcr2VisionEncoderConfig,
        num_blocks: int,
        info: VisionEncoderInfo,
        size: tuple[int, int],
    ) -> int:
        """Count the operations of relative positions, and of the projections of tokens that pad windows."""
        width, operations = info.hidden_size, 0
        for block in range(num_blocks):
            tokens = _tokens(encoder, block)
            operations += 2 * (tokens - info.num_patches(*size)) * 4 * width**2
            if encoder.use_rel_pos:
                operations += 2 * 2 * tokens * width * _reach(encoder, block)
        return operations

    def padding(self, info: VisionEncoderInfo) -> None:
        return None  # transformers' code waits for the device

    def stem(self, model: FromTransformers, pixel_values: Tensor) -> tuple[Tensor, BlockInputs]:
        patches = model.patch_embed(pixel_values)
        return patches if model.pos_embed is None else patches + model.pos_embed, {}

    def tokens(self, model: FromTransformers, hidden_states: Tensor, layout: None) -> Tensor:
        return hidden_states.flatten(1, 2)

    def merged(self, model: FromTransformers, hidden_states: Tensor, layout: None) -> Tensor:
        merged: Tensor = model.neck(hidden_states).flatten(2).transpose(1, 2)
        return merged

    def reference_output(self, output: FromTransformers, batch: DenseBatch) -> Tensor:
        last: Tensor = output.last_hidden_state  # (images, channels, rows, columns)
        return last.flatten(2).transpose(1, 2)


def _reach(encoder: GotOcr2VisionEncoderConfig, block: int) -> int:
    """Return how many patches one side of the square has inside which ``block`` attends."""
    return encoder.window(block) or encoder.image_size // encoder.patch_size


def _tokens(encoder: GotOcr2VisionEncoderConfig, block: int) -> int:
    """Count the tokens of ``block``, with those that pad windows which the image does not fill."""
    side, reach = encoder.image_size // encoder.patch_size, _reach(encoder, block)
    return (-(-side // reach) * reach) ** 2
