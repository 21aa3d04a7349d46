"""SigLIP's vision tower (and SigLIP 2's at fixed resolution): ``SiglipVisionConfig`` of transformers."""

from __future__ import annotations

from typing import ClassVar, Literal

from .base import Activation, Count, DenseEncoderConfig, Epsilon, Probability


class SiglipVisionEncoderConfig(DenseEncoderConfig):
    """SigLIP ViT: no prefix tokens, learned positions, an attention-pooling head."""

    inert_fields: ClassVar[frozenset[str]] = DenseEncoderConfig.inert_fields | {"vision_use_head"}

    model_type: Literal["siglip_vision_model"]
    intermediate_size: Count = 3072
    """Width of the MLP inside a block."""
    hidden_act: Activation = "gelu_pytorch_tanh"
    """Activation of the MLP."""
    layer_norm_eps: Epsilon = 1e-6
    """Epsilon of every LayerNorm."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    vision_use_head: bool = True
    """Whether the checkpoint carries the attention-pooling head; most VLMs leave it out."""

    @property
    def has_head(self) -> bool:
        return self.vision_use_head
