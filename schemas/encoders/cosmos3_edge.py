"""Cosmos 3 Edge's vision tower: ``Cosmos3EdgeVisionConfig`` of transformers."""

from __future__ import annotations

from typing import Literal

from pydantic_core import InitErrorDetails

from .base import Activation, Count, Epsilon, Few, PackedEncoderConfig, Probability, Rows, check_table


class Cosmos3EdgeVisionEncoderConfig(PackedEncoderConfig):
    """Cosmos 3 Edge ViT: SigLIP 2's blocks, images and frames at their own size."""

    model_type: Literal["cosmos3_edge_vision"]
    intermediate_size: Count = 4304
    """Width of the MLP inside a block."""
    num_patches: Rows = 256
    """Rows of the position table: a square."""
    spatial_merge_size: Few = 2
    """Side of the squares of patches that the connector merges; patches stand by them."""
    hidden_act: Activation = "gelu_pytorch_tanh"
    """Activation of the MLP."""
    layer_norm_eps: Epsilon = 1e-6
    """Epsilon of every LayerNorm."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""

    def _check(self) -> list[InitErrorDetails]:
        return [*super()._check(), *check_table(self.num_patches, "num_patches")]
