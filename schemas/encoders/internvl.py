"""InternViT as InternVL carries it: ``InternVLVisionConfig`` of transformers."""

from __future__ import annotations

from typing import ClassVar, Literal

from .base import Activation, Count, DenseEncoderConfig, Depth, Epsilon, Probability, SquareSize


class InternVLVisionEncoderConfig(DenseEncoderConfig):
    """InternViT: a class token, learned positions interpolated to any size, layer scale."""

    inert_fields: ClassVar[frozenset[str]] = DenseEncoderConfig.inert_fields | {"projection_dropout"}

    model_type: Literal["internvl_vision"]
    hidden_size: Count = 1024
    num_hidden_layers: Depth = 24
    num_attention_heads: Count = 16
    attention_bias: bool = False
    """Whether query, key and value projections have a bias."""
    use_qk_norm: bool = False
    """RMSNorm on queries and keys, as in the 6B model."""
    intermediate_size: Count = 4096
    """Width of the MLP inside a block."""
    hidden_act: Activation = "gelu"
    """Activation of the MLP."""
    hidden_dropout_prob: Probability = 0.0
    """Dropout on hidden states, in training only."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    projection_dropout: Probability = 0.0
    """Dropout behind the attention's output projection, in training only."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""
    norm_type: Literal["layer_norm", "rms_norm"] = "layer_norm"
    """The norm inside a block."""
    layer_norm_eps: Epsilon = 1e-6
    """Epsilon of every norm."""
    image_size: SquareSize = 448
    patch_size: SquareSize = 14
    use_mask_token: bool = False
    """Whether the checkpoint carries the mask token of pre-training; the tower does not use it."""
    use_absolute_position_embeddings: bool = True
    """Learned positions; without them the encoder has none."""
    layer_scale_init_value: float = 0.1
    """Initial layer scale."""
    use_mean_pooling: bool = True
    """How the encoder was trained to pool; a model trained so has no post-norm."""

    @property
    def num_prefix_tokens(self) -> int:
        return 1

    @property
    def has_post_norm(self) -> bool:
        return not self.use_mean_pooling
