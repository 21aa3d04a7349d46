"""Llama 4's vision tower (``Llama4VisionModel``). Its class token comes last. Its own output is that of its
adapter, which merges squares of patches into one token each and drops the class token.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from ..errors import ConfigError, Problem
from ..images.resize import ResizeRule
from ..schemas.encoders.llama4 import Llama4VisionEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .dense import DenseFamily
from .facts import VisionEncoderInfo
from .reading import Reading
from .shapes import Shapes, layer_norm, linear, linear_patches, linears, mlp, num_positions

if TYPE_CHECKING:
    from torch import Tensor


class Llama4(DenseFamily[Llama4VisionEncoderConfig]):
    """The family of llama4_vision_model."""

    model_type = "llama4_vision_model"
    model_class = "Llama4VisionModel"
    config_class = "Llama4VisionConfig"
    read_by: ClassVar = {"llama4": Reading()}
    blocks = "model.layers"
    post_norm = "layernorm_post"
    head = "vision_adapter"
    image_processor = "Llama4ImageProcessor"
    tiny: ClassVar = {"intermediate_size": 128, "projector_input_dim": 24, "projector_output_dim": 24}

    def info(self, encoder: Llama4VisionEncoderConfig, resize: ResizeRule | None = None) -> VisionEncoderInfo:
        return replace(
            super().info(encoder, resize),
            merge_size=encoder.merge_size,
            out_hidden_size=encoder.projector_output_dim,
        )

    def stem_shapes(self, encoder: Llama4VisionEncoderConfig) -> Shapes:
        width = encoder.hidden_size
        return {
            "class_embedding": (width,),
            "positional_embedding_vlm": (num_positions(encoder) + 1, width),
            **linear_patches("patch_embedding.linear", encoder, bias=False),
            **layer_norm("layernorm_pre", width),
        }

    def block_shapes(self, encoder: Llama4VisionEncoderConfig) -> Shapes:
        return llama_block(encoder.hidden_size, encoder.intermediate_size, bias=True)

    def head_shapes(self, encoder: Llama4VisionEncoderConfig) -> Shapes:
        _check_adapter(encoder)
        inner, outer = encoder.projector_input_dim, encoder.projector_output_dim
        return {
            **linear("mlp.fc1", encoder.intermediate_size, inner, bias=False),
            **linear("mlp.fc2", outer, outer, bias=False),
        }

    def head_flops(self, encoder: Llama4VisionEncoderConfig, num_tokens: int) -> int:
        merged = (num_tokens - encoder.num_suffix_tokens) // encoder.merge_size**2
        inner, outer = encoder.projector_input_dim, encoder.projector_output_dim
        return 2 * merged * (encoder.intermediate_size * inner + outer * outer)

    def stem(self, model: FromTransformers, pixel_values: Tensor) -> tuple[Tensor, BlockInputs]:
        import torch

        patches = model.patch_embedding(pixel_values)
        # Not len(patches): it would fix the number of images where torch.export traces this.
        class_token = model.class_embedding.expand(patches.shape[0], 1, -1)
        hidden_states = torch.cat([patches, class_token], dim=1) + model.positional_embedding_vlm
        return model.layernorm_pre(hidden_states), {"freqs_ci": model.rotary_embedding(pixel_values)}

    def merged(self, model: FromTransformers, hidden_states: Tensor, layout: None) -> Tensor:
        merged: Tensor = model.vision_adapter(hidden_states[:, :-1])
        return merged


def llama_block(width: int, mlp_width: int, *, bias: bool) -> Shapes:
    """Return the tensors of the block of Llama 4 and Llama 3.2, which has no ``bias`` in its attention."""
    return {
        **linears("self_attn", ("q_proj", "k_proj", "v_proj", "o_proj"), width, width, bias=bias),
        **mlp("mlp", width, mlp_width),
        **layer_norm("input_layernorm", width),
        **layer_norm("post_attention_layernorm", width),
    }


def _check_adapter(encoder: Llama4VisionEncoderConfig) -> None:
    """Refuse an adapter that cannot run.

    The config block does not check this: transformers' own defaults would fail, and selected hidden states
    do not need the adapter.

    Raises:
        ConfigError: If the adapter cannot run; it names every reason.
    """
    ratio, merge, width = encoder.pixel_shuffle_ratio, encoder.merge_size, encoder.hidden_size
    side = encoder.image_size // encoder.patch_size
    problems = []
    # Computed as in transformers, which truncates: floating point can end just below a whole number.
    squares = (int(side * ratio), int(width / ratio), int(width / ratio**2))
    if side % merge or squares != (side // merge, width * merge, width * merge**2):
        message = f"{ratio} does not cut a grid of {side}x{side} patches of width {width} into whole squares"
        problems.append(Problem("VC208", message, "encoder.pixel_shuffle_ratio"))
    if encoder.intermediate_size != width * merge**2:
        message = (
            f"must be {width * merge**2}, not {encoder.intermediate_size}: the adapter merges "
            f"{merge}x{merge} patches of width {width} into a token"
        )
        problems.append(Problem("VC208", message, "encoder.intermediate_size"))
    if encoder.projector_input_dim != encoder.projector_output_dim:
        message = (
            f"must equal projector_output_dim, {encoder.projector_output_dim}, and not be "
            f"{encoder.projector_input_dim}"
        )
        problems.append(Problem("VC208", message, "encoder.projector_input_dim"))
    if problems:
        raise ConfigError(problems)
