"""Inkling 2 (``Inkling2VisionModel``): a class token in front of each image, and a merger of the patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..attention.sending import Parcel
from ..errors import InputError
from ..schemas.encoders.inkling2 import Inkling2VisionEncoderConfig
from ..schemas.processor_class import square
from .aliases import FromTransformers
from .facts import VisionEncoderInfo
from .inputs import check_pixels, rows_of_integers
from .layout import RopeLayout
from .patch_embedding import weighted_rows
from .patch_rows import RopeRowsFamily
from .places import Patches
from .position_taps import PositionTaps
from .reading import Reading
from .rope import Rope, rope_base, rope_frequencies, side_by_side
from .shapes import Shapes, layer_norm, linear, linear_patches, linears, matrix_values, mlp

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .packed import PackedBatch


@dataclass(frozen=True, eq=False)
class ClassTokenLayout(RopeLayout):
    """The layout of images with a class token in front of each.

    Attributes:
        position_taps: Rows of the table to interpolate between, and their weights, (patches, 4) each.
        patch_index: The place of every patch in the sequence, (patches,) int64.
    """

    position_taps: tuple[Tensor, Tensor]
    patch_index: Tensor


class Inkling2(RopeRowsFamily[Inkling2VisionEncoderConfig, ClassTokenLayout]):
    """The family of inkling2_vision. Patches are grouped by squares; class tokens are not given out."""

    model_type = "inkling2_vision"
    module = "transformers.models.inkling2.modeling_inkling2"
    model_class = "Inkling2VisionModel"
    config_class = "Inkling2VisionConfig"
    read_by: ClassVar = {"inkling2": Reading(), "inkling2_loop": Reading()}
    vlm = "inkling2"
    vlm_root = "model.visual"
    blocks = "layers"
    post_norm = ""
    head = "merger"
    by_squares = True
    max_frames = 1
    image_processor = "Inkling2ImageProcessor"
    tiny: ClassVar = {"posemb_grid_size": 5, "projection_hidden_dim": 40, "text_hidden_size": 24}

    # --- facts ----------------------------------------------------------------------------------------

    def image_processor_settings(self, encoder: Inkling2VisionEncoderConfig) -> dict[str, object]:
        return {"size": square(encoder.patch_size * encoder.spatial_merge_size)}

    def stem_shapes(self, encoder: Inkling2VisionEncoderConfig) -> Shapes:
        width = encoder.hidden_size
        return {
            **linear_patches(self.patch_projection, encoder, bias=False),
            "embeddings.position_embedding.weight": (encoder.posemb_grid_size**2, width),
            "embeddings.class_embedding": (width,),
            "embeddings.cls_position_embedding": (width,),
            **layer_norm("pre_layernorm", width),
        }

    def block_shapes(self, encoder: Inkling2VisionEncoderConfig) -> Shapes:
        width = encoder.hidden_size
        return {
            **linears("self_attn", ("q_proj", "k_proj", "v_proj", "out_proj"), width, width),
            **mlp("mlp", width, encoder.mlp_width),
            **layer_norm("layernorm_before", width),
            **layer_norm("layernorm_after", width),
            "lambda_1": (width,),
            "lambda_2": (width,),
        }

    def head_shapes(self, encoder: Inkling2VisionEncoderConfig) -> Shapes:
        joined, inner = encoder.hidden_size * encoder.spatial_merge_size**2, encoder.projection_hidden_dim
        bias = encoder.projector_bias
        return linear("linear_1", joined, inner, bias=bias) | linear(
            "linear_2", inner, encoder.text_hidden_size, bias=bias
        )

    def head_flops(self, encoder: Inkling2VisionEncoderConfig, num_tokens: int) -> int:
        merged = num_tokens // encoder.spatial_merge_size**2
        return 2 * merged * matrix_values(self.head_shapes(encoder))

    def attention_pairs(
        self,
        encoder: Inkling2VisionEncoderConfig,
        num_blocks: int,
        info: VisionEncoderInfo,
        size: tuple[int, int],
    ) -> int:
        return num_blocks * (info.sequence_length(*size) + 1) ** 2

    def extra_flops(
        self,
        encoder: Inkling2VisionEncoderConfig,
        num_blocks: int,
        info: VisionEncoderInfo,
        size: tuple[int, int],
    ) -> int:
        """Count the operations on the class token."""
        return num_blocks * 2 * matrix_values(self.block_shapes(encoder))

    # --- running --------------------------------------------------------------------------------------

    def padding(self, info: VisionEncoderInfo) -> None:
        return None  # every image has a class token more

    def read(
        self, model: FromTransformers, info: VisionEncoderInfo, inputs: Mapping[str, object]
    ) -> PackedBatch:
        """Read ``pixel_values`` and ``image_grid_thw``.

        Pixels are (merged tokens, height, width, channels) of their squares; grids (images, 3) are frames,
        rows and columns of merged tokens.
        """
        import torch

        merge, patch = info.merge_size, info.patch_size
        pixels = check_pixels("pixel_values", inputs.get("pixel_values"))
        expected, shape = (merge * patch, merge * patch, info.num_channels), tuple(pixels.shape)
        if shape[1:] != expected or not shape:
            raise InputError(f"pixel_values must be (tokens, {', '.join(map(str, expected))}), not {shape}")
        grids = rows_of_integers(
            "image_grid_thw", inputs.get("image_grid_thw"), 3, "frames, rows and columns"
        )
        patches = [(frames, rows * merge, columns * merge) for frames, rows, columns in grids]
        squares = pixels.reshape(-1, merge, patch, merge, patch, info.num_channels).transpose(2, 3)
        rows_of_patches = squares.reshape(-1, patch * patch * info.num_channels)
        converted = {
            "pixel_values": rows_of_patches,
            "image_grid_thw": torch.tensor(patches, dtype=torch.long, device="cpu").reshape(-1, 3),
        }
        return super().read(model, info, {**inputs, **converted})

    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> ClassTokenLayout:
        import torch

        from ..attention.segments import Segments

        grids, config, parcel = batch.grids, model.config, Parcel(device)
        frames = Segments([t * h * w + 1 for t, h, w in grids], parcel)
        patches = Patches(grids, parcel, config.spatial_merge_size)
        head = config.hidden_size // config.num_attention_heads
        # Two neighbours of a head turn together.
        frequencies = rope_frequencies(head // 2, rope_base(config)).repeat_interleave(2)
        rope = Rope(side_by_side(frequencies, frequencies), grids, parcel)
        taps = PositionTaps(grids, parcel, config.posemb_grid_size, "bilinear")
        position_taps = taps.at(patches)
        index = torch.arange(1, 1 + len(patches.frame), device=device) + patches.frame
        # Patches count from 1, and class tokens are at 0.
        places = patches.positions.new_zeros(frames.num_tokens, 2)
        places.index_copy_(0, index, patches.positions.flip(1) + 1)
        return ClassTokenLayout(
            grids, frames=frames, rope=rope.at(places), position_taps=position_taps, patch_index=index
        )

    def stem(self, model: FromTransformers, pixels: Tensor, layout: ClassTokenLayout) -> Tensor:
        embeddings = model.embeddings
        positions = weighted_rows(embeddings.position_embedding, *layout.position_taps)
        patches = embeddings.patch_embedding(pixels)
        patches = patches + positions.to(patches.dtype)
        class_token = (embeddings.class_embedding + embeddings.cls_position_embedding).to(patches.dtype)
        tokens = class_token.repeat(len(patches) + len(layout.grids), 1)
        embedded: Tensor = model.pre_layernorm(tokens.index_copy(0, layout.patch_index, patches))
        return embedded

    def tokens(self, model: FromTransformers, hidden_states: Tensor, layout: ClassTokenLayout) -> Tensor:
        return hidden_states[layout.patch_index]

    def merged(self, model: FromTransformers, hidden_states: Tensor, layout: ClassTokenLayout) -> Tensor:
        patches, square_size = self.tokens(model, hidden_states, layout), model.config.spatial_merge_size**2
        merged: Tensor = model.merger(patches.reshape(-1, square_size * patches.shape[-1]))
        return merged

    def reference_inputs(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(inputs)

    def reference_output(self, output: FromTransformers, batch: PackedBatch) -> Tensor:
        pooled: Tensor = output.pooler_output
        return pooled
