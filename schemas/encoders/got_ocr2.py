"""GOT-OCR 2's vision tower: ``GotOcr2VisionConfig`` of transformers."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic_core import InitErrorDetails

from .base import (
    MAX_SIDE,
    Activation,
    Blocks,
    Count,
    DenseEncoderConfig,
    Epsilon,
    Probability,
    SquareSize,
    check_blocks,
)


class GotOcr2VisionEncoderConfig(DenseEncoderConfig):
    """GOT-OCR 2's ViT, SAM's: attention inside windows but for some blocks, relative positions, and a neck of
    two convolutions."""

    merger: ClassVar[bool] = True

    model_type: Literal["got_ocr2_vision"]
    output_channels: Count = 256
    """Width of a token behind the neck."""
    image_size: SquareSize = 1024
    hidden_act: Activation = "gelu"
    """Activation of the MLP."""
    layer_norm_eps: Epsilon = 1e-6
    """Epsilon of every LayerNorm inside a block; the neck's is 1e-6."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    initializer_range: float = 1e-10
    """Standard deviation of random initialisation."""
    qkv_bias: bool = True
    """Whether query, key and value have a bias."""
    use_abs_pos: bool = True
    """Learned positions, added to the patches."""
    use_rel_pos: bool = True
    """Learned relative positions, inside attention."""
    window_size: Annotated[int, Field(ge=0, le=MAX_SIDE)] = 14
    """Patches along one side of a window; 0: every block attends to the whole image."""
    global_attn_indexes: Blocks = (
        2,
        5,
        8,
        11,
    )
    """Blocks that attend to the whole image, counted from 0."""
    mlp_dim: Count = 3072
    """Width of the MLP inside a block."""

    @property
    def has_post_norm(self) -> bool:
        return False

    def window(self, block: int) -> int:
        """Patches along one side of the windows of ``block``; 0: it attends to the whole image."""
        return 0 if block in self.global_attn_indexes else self.window_size

    def _check(self) -> list[InitErrorDetails]:
        return [*super()._check(), *check_blocks(self, "global_attn_indexes")]
