"""HunyuanOCR's vision tower: ``HunYuanVLVisionConfig`` of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from .base import Activation, Count, Epsilon, Few, PackedEncoderConfig, Probability, Side


class HunYuanVisionEncoderConfig(PackedEncoderConfig):
    """The fields that HunyuanOCR's and Hy4's towers share."""

    aliases: ClassVar[Mapping[str, str]] = {
        "attention_heads": "num_attention_heads",
        "layer_norm_eps": "rms_norm_eps",
    }
    inert_fields: ClassVar[frozenset[str]] = PackedEncoderConfig.inert_fields | {
        "num_key_value_heads",
        "out_hidden_size",
    }

    intermediate_size: Count = 4304
    """Width of the MLP inside a block."""
    max_image_size: Side = 2048
    """Side in pixels of the square image whose patches the position table has rows for."""
    interpolate_mode: Literal["bilinear", "bicubic"] = "bilinear"
    """How the position table is resampled."""
    spatial_merge_size: Few = 2
    """Side of the squares of patches that the connector merges: sides are multiples of it."""
    hidden_act: Activation = "gelu"
    """Activation of the MLP."""
    rms_norm_eps: Epsilon = 1e-5
    """Epsilon of the LayerNorms, in spite of its name."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    num_key_value_heads: Annotated[Count | None, Field(examples=[16])] = None
    """Not used: there are as many heads of keys as of queries."""
    out_hidden_size: Count = 4096
    """Not used: the connector has its own width."""

    if not TYPE_CHECKING:

        @property
        def has_post_norm(self) -> bool:
            return False


class HunYuanVLVisionEncoderConfig(HunYuanVisionEncoderConfig):
    """Hunyuan ViT: CLIP's pre-norm blocks, a position table resampled to any size."""

    inert_fields: ClassVar[frozenset[str]] = HunYuanVisionEncoderConfig.inert_fields | {
        "img_max_token_num",
        "max_vit_seq_len",
        "min_image_size",
        "text_hidden_size",
    }

    model_type: Literal["hunyuan_vl_vision"]
    temporal_patch_size: Literal[1] = 1
    """Frames in a patch; transformers can do no other number."""
    text_hidden_size: Count = 3072
    """Not used: the connector has its own width."""
    img_max_token_num: Count = 4096
    """Not used."""
    min_image_size: Side = 512
    """Not used."""
    max_vit_seq_len: Count = 16384
    """Not used."""
