"""MLCD's vision tower: ``MLCDVisionConfig`` of transformers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic_core import InitErrorDetails

from ..base import problem
from .base import Activation, Count, DenseEncoderConfig, Epsilon, Probability, SquareSize


class MLCDVisionEncoderConfig(DenseEncoderConfig):
    """MLCD ViT: CLIP's layout with axial rope instead of a position table, so any image size goes."""

    model_type: Literal["mlcd_vision_model"]
    hidden_size: Count = 1664
    intermediate_size: Count = 8192
    """Width of the MLP inside a block."""
    num_hidden_layers: Count = 48
    num_attention_heads: Count = 16
    num_key_value_groups: Literal[1] = 1
    """Query heads per key-value head; transformers' attention supports 1."""
    image_size: SquareSize = 336
    patch_size: SquareSize = 14
    hidden_act: Activation = "gelu"
    """Activation of the MLP."""
    layer_norm_eps: Epsilon = 1e-5
    """Epsilon of every LayerNorm."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""
    initializer_factor: float = 1.0
    """Scale of random initialisation."""
    rope_parameters: dict[str, Any] | None = None
    """The rope's parameters in transformers' form; null for the family's own."""

    @property
    def num_prefix_tokens(self) -> int:
        return 1

    def _check(self) -> list[InitErrorDetails]:
        problems = super()._check()
        if not problems and self.head_size % 4:
            problems.append(
                problem(
                    "VC208",
                    f"the rope needs a head size divisible by 4, not {self.head_size} "
                    f"(hidden_size {self.hidden_size} / num_attention_heads {self.num_attention_heads})",
                    "num_attention_heads",
                    value=self.num_attention_heads,
                )
            )
        return problems
