"""Attention over a packed sequence, as one of transformers' attention functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

if TYPE_CHECKING:
    from ..encoders.layout import Segments

PACKED_ATTENTION = "vc_packed"
"""Its name in transformers. Without "flash" in it: that would make transformers look for a kernel."""


def register_packed_attention() -> str:
    """Make :func:`packed_attention` known to transformers and return its name there."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(PACKED_ATTENTION, packed_attention)
    # A name without a mask function would have encoders that do pass a mask attend to everything.
    AttentionMaskInterface.register(PACKED_ATTENTION, sdpa_mask)
    return PACKED_ATTENTION


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Segments | Tensor | None = None,
    *,
    segments: Segments | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention inside each segment, one call per distinct length; never a (tokens, tokens) mask.

    Args:
        module: The attention module; not used.
        query: (1, heads, tokens, head_size).
        key: Like ``query``, with as many heads or a divisor of them.
        value: Like ``key``.
        attention_mask: The segments, from blocks that hand nothing else on; not used with ``segments``.
        segments: Which tokens attend to each other.
        scaling: Factor on the products of queries and keys; None: 1 / sqrt(head_size).
        dropout: On attention weights.

    Returns:
        (1, tokens, heads, head_size), and no weights.
    """
    if segments is None:
        segments = cast("Segments", attention_mask)
    grouped = key.shape[1] != query.shape[1]
    outputs = []
    for length, pieces, where in segments.groups:
        q, k, v = (_batch(tensor, length, pieces, where) for tensor in (query, key, value))
        output = scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scaling, enable_gqa=grouped)
        outputs.append(output.transpose(1, 2).flatten(0, 1))
    tokens = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    if segments.inverse is not None:
        tokens = tokens[segments.inverse]
    return tokens.unsqueeze(0), None


def _batch(tensor: Tensor, length: int, pieces: int, where: slice | Tensor) -> Tensor:
    """The segments of one length as (pieces, heads, length, head_size)."""
    return tensor[0, :, where].reshape(-1, pieces, length, tensor.shape[-1]).transpose(0, 1)
