"""VideoLLaMA 3's vision tower: ``VideoLlama3VisionConfig`` of transformers."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic_core import InitErrorDetails

from .base import (
    Activation,
    Count,
    Depth,
    EncoderConfig,
    Epsilon,
    Probability,
    RopeType,
    SquareSize,
    check_rope,
)


class VideoLlama3VisionEncoderConfig(EncoderConfig):
    """VideoLLaMA 3 ViT: SigLIP's blocks with a rope, images of any size."""

    rope_type: ClassVar[RopeType] = "rope_2d"
    packed: ClassVar[bool] = True

    model_type: Literal["video_llama_3_vision"]
    hidden_size: Count = 768
    """Width of a token inside the encoder."""
    intermediate_size: Count = 3072
    """Width of the MLP inside a block."""
    num_hidden_layers: Depth = 12
    """Blocks in the checkpoint, all of them; negative select_layers count from here."""
    num_attention_heads: Count = 12
    """Attention heads per block; must divide hidden_size."""
    num_channels: Count = 3
    """Colour channels of the input."""
    patch_size: SquareSize = 16
    """Side in pixels of a square patch."""
    hidden_act: Activation = "gelu_pytorch_tanh"
    """Activation of the MLP."""
    layer_norm_eps: Epsilon = 1e-6
    """Epsilon of the LayerNorms."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""
    rope_parameters: dict[str, Any] | None = None
    """The rope's parameters in transformers' form; null for the family's own."""

    def _check(self) -> list[InitErrorDetails]:
        return [*super()._check(), *check_rope(self)]
