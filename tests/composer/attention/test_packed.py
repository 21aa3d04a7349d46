"""Packed attention against a dense mask, and its segments against their definition."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from vision_composer.attention.packed import packed_attention, register_packed_attention
from vision_composer.encoders.layout import Segments

lengths_of_segments = st.lists(st.integers(1, 6), min_size=1, max_size=9)


@given(lengths_of_segments, st.sampled_from([None, 0.3]))
@settings(max_examples=60, deadline=None)
def test_equals_attention_under_a_block_mask(lengths: list[int], scaling: float | None) -> None:
    generator = torch.Generator().manual_seed(sum(lengths))
    query, key, value = torch.randn(3, 1, 2, sum(lengths), 4, generator=generator)
    owner = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    want = scaled_dot_product_attention(
        query, key, value, attn_mask=owner[:, None] == owner[None, :], scale=scaling
    )
    got, weights = packed_attention(
        nn.Identity(), query, key, value, segments=Segments(lengths), scaling=scaling
    )
    torch.testing.assert_close(got, want.transpose(1, 2), rtol=0, atol=1e-6)
    assert weights is None


@given(lengths_of_segments)
def test_segments_are_one_group_per_length(lengths: list[int]) -> None:
    segments = Segments(lengths)
    assert [length for length, _, _ in segments.groups] == list(dict.fromkeys(lengths))
    assert sum(length * pieces for length, pieces, _ in segments.groups) == sum(lengths)
    assert segments.cu_seqlens.diff().tolist() == lengths
    assert segments.max_length == max(lengths)
    tokens = torch.arange(sum(lengths))
    grouped = torch.cat([tokens[where] for _, _, where in segments.groups])
    assert torch.equal(grouped if segments.inverse is None else grouped[segments.inverse], tokens)


def test_is_registered_with_a_mask() -> None:
    name = register_packed_attention()
    assert "flash" not in name
    assert name in AttentionInterface().valid_keys()
    assert name in AttentionMaskInterface().valid_keys()
