"""SigLIP 2's vision tower at native aspect ratio (NaFlex): ``Siglip2VisionConfig`` of transformers."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic_core import InitErrorDetails

from .base import Activation, Count, Depth, Epsilon, PackedEncoderConfig, Probability, Rows, check_table


class Siglip2VisionEncoderConfig(PackedEncoderConfig):
    """SigLIP 2 NaFlex ViT: images of any aspect ratio, resized positions, an attention-pooling head."""

    inert_fields: ClassVar[frozenset[str]] = PackedEncoderConfig.inert_fields | {"vision_use_head"}

    model_type: Literal["siglip2_vision_model"]
    hidden_size: Count = 768
    intermediate_size: Count = 3072
    """Width of the MLP inside a block."""
    num_hidden_layers: Depth = 12
    num_attention_heads: Count = 12
    hidden_act: Activation = "gelu_pytorch_tanh"
    """Activation of the MLP."""
    layer_norm_eps: Epsilon = 1e-6
    """Epsilon of every LayerNorm."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    vision_use_head: bool = True
    """Whether the checkpoint carries the attention-pooling head; most VLMs leave it out."""
    num_patches: Rows = 256
    """Rows of the position table, a square grid that is resized to that of each image."""

    @property
    def has_head(self) -> bool:
        return self.vision_use_head

    def _check(self) -> list[InitErrorDetails]:
        return [*super()._check(), *check_table(self.num_patches, "num_patches")]
