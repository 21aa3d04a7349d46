"""Molmo2 (``Molmo2VisionModel``): SigLIP's blocks without a last norm, on crops as rows of patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING, ClassVar

from ..errors import InputError
from ..images.settings import ProcessorSettings
from ..schemas.encoders.molmo2 import Molmo2VisionEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .dense import DenseBatch, DenseFamily
from .facts import Grid, VisionEncoderInfo
from .inputs import check_pixels, refuse_unknown
from .reading import Reading
from .reference import Sample
from .shapes import Shapes, layer_norm, linear, linear_patches, mlp, num_positions

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..images.preprocess import ImagePreprocessor
    from .reference import Preprocess


@dataclass(frozen=True, eq=False)
class PatchesBatch(DenseBatch):
    """Square images of one size: ``pixels`` are (images, patches, height x width x channels of a patch)."""

    @property
    def grid(self) -> Grid:
        side = isqrt(self.pixels.shape[1])
        return 1, side, side


class Molmo2(DenseFamily[Molmo2VisionEncoderConfig]):
    """The family of molmo2_vision."""

    model_type = "molmo2_vision"
    module = "transformers.models.molmo2.modeling_molmo2"
    model_class = "Molmo2VisionModel"
    config_class = "Molmo2VisionConfig"
    read_by: ClassVar = {"molmo2": Reading((25, 19), chooses=False)}
    vlm = "molmo2"
    vlm_root = "model.vision_backbone.image_vit"
    blocks = "layers"
    post_norm = ""
    image_processor = "Molmo2ImageProcessor"
    tiny: ClassVar = {"head_dim": 8, "num_key_value_heads": 2}

    def stem_shapes(self, encoder: Molmo2VisionEncoderConfig) -> Shapes:
        return {
            "positional_embedding": (num_positions(encoder), encoder.hidden_size),
            **linear_patches("patch_embedding", encoder),
        }

    def block_shapes(self, encoder: Molmo2VisionEncoderConfig) -> Shapes:
        width, bias = encoder.hidden_size, encoder.attention_bias
        queries, keys = (
            heads * encoder.head_dim for heads in (encoder.num_attention_heads, encoder.num_key_value_heads)
        )
        return {
            **layer_norm("layer_norm1", width),
            **linear("self_attn.q_proj", width, queries, bias=bias),
            **linear("self_attn.k_proj", width, keys, bias=bias),
            **linear("self_attn.v_proj", width, keys, bias=bias),
            **linear("self_attn.o_proj", queries, width, bias=bias),
            **layer_norm("layer_norm2", width),
            **mlp("mlp", width, encoder.intermediate_size),
        }

    def image_processor_settings(self, encoder: Molmo2VisionEncoderConfig) -> dict[str, object]:
        return {"patch_size": encoder.patch_size}

    def preprocessor(
        self, encoder: Molmo2VisionEncoderConfig, settings: ProcessorSettings
    ) -> ImagePreprocessor:
        from ..images.preprocess import ragged_preprocessor

        return ragged_preprocessor(settings, self.resize_rule(encoder, settings), encoder.num_channels)

    def transformers_config(
        self, encoder: Molmo2VisionEncoderConfig, num_blocks: int, *, head: bool
    ) -> FromTransformers:
        fields = encoder.model_dump(exclude={"model_type"}) | {"num_hidden_layers": num_blocks}
        side = encoder.image_size
        return self._from_transformers(self.config_class)(**fields | {"image_size": [side, side]})

    # --- running --------------------------------------------------------------------------------------

    def read(
        self, model: FromTransformers, info: VisionEncoderInfo, inputs: Mapping[str, object]
    ) -> PatchesBatch:
        """Read ``pixel_values`` (crops, patches, height x width x channels of a patch), floating point."""
        refuse_unknown(info.model_type, inputs, ("pixel_values",))
        pixels = check_pixels("pixel_values", inputs.get("pixel_values"))
        expected = _shape_of_crop(info)
        if pixels.dim() != 3 or tuple(pixels.shape[1:]) != expected:
            patches, values = expected
            raise InputError(f"pixel_values must be (crops, {patches}, {values}), not {tuple(pixels.shape)}")
        return PatchesBatch(pixels, info.patch_size)

    def blank(self, info: VisionEncoderInfo, device: torch.device) -> PatchesBatch:
        import torch

        return PatchesBatch(torch.zeros(1, *_shape_of_crop(info), device=device), info.patch_size)

    def stem(self, model: FromTransformers, pixel_values: Tensor) -> tuple[Tensor, BlockInputs]:
        patches = model.patch_embedding(pixel_values)
        return patches + model.positional_embedding.to(patches), {"attention_mask": None}

    def samples(self, info: VisionEncoderInfo, preprocess: Preprocess) -> list[Sample]:
        import torch

        size, shape = (info.image_size, info.image_size, 1), _shape_of_crop(info)
        return [Sample({"pixel_values": torch.randn(1, *shape)}, size, resized=True) for _ in range(2)]


def _shape_of_crop(info: VisionEncoderInfo) -> tuple[int, int]:
    """Return the patches of a crop, and the values of a patch."""
    return info.patch_grid_length**2, info.num_channels * info.patch_size**2
