"""Chinese CLIP's vision tower: its config block and its family. Importing this loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from vision_composer.encoders import DenseFamily, Shapes
from vision_composer.encoders.shapes import conv_patches, layer_norm, linear, num_positions
from vision_composer.schemas import DenseEncoderConfig

if TYPE_CHECKING:
    from torch import Tensor


class ChineseCLIPConfig(DenseEncoderConfig):
    """The keys of the ``encoder`` block, named and with defaults as in transformers' config."""

    model_type: Literal["chinese_clip_vision_model"]
    intermediate_size: int = 3072
    projection_dim: int = 512
    patch_size: int = 32
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    attention_dropout: float = 0.0
    initializer_range: float = 0.02
    initializer_factor: float = 1.0

    @property
    def num_prefix_tokens(self) -> int:
        return 1  # the class token


class ChineseCLIP(DenseFamily[ChineseCLIPConfig]):
    """How the stages run in transformers' class, and which tensors they have in a checkpoint."""

    model_type = "chinese_clip_vision_model"
    model_class = "ChineseCLIPVisionModel"
    config_class = "ChineseCLIPVisionConfig"
    blocks = "encoder.layers"
    post_norm = "post_layernorm"
    norms_last_hidden_state = False  # transformers norms the pooled class token only

    def stem_shapes(self, encoder: ChineseCLIPConfig) -> Shapes:
        width = encoder.hidden_size
        return {
            "embeddings.class_embedding": (width,),
            **conv_patches("embeddings.patch_embedding", encoder, bias=False),
            "embeddings.position_embedding.weight": (1 + num_positions(encoder), width),
            **layer_norm("pre_layrnorm", width),
        }

    def block_shapes(self, encoder: ChineseCLIPConfig) -> Shapes:
        width = encoder.hidden_size
        shapes = layer_norm("layer_norm1", width) | layer_norm("layer_norm2", width)
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= linear(f"self_attn.{projection}", width, width)
        shapes |= linear("mlp.fc1", width, encoder.intermediate_size)
        return shapes | linear("mlp.fc2", encoder.intermediate_size, width)

    def stem(self, model: Any, pixel_values: Tensor) -> tuple[Tensor, dict[str, Any]]:
        hidden_states = model.pre_layrnorm(model.embeddings(pixel_values))
        return hidden_states, {"attention_mask": None}


CHINESE_CLIP = (ChineseCLIPConfig, ChineseCLIP)
