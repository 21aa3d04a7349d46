"""Packed attention against a dense mask, and piece by piece."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.compare import OP_ULPS, assert_close
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from vision_composer.attention.packed import packed_attention, register_packed_attention
from vision_composer.attention.segments import Segments
from vision_composer.errors import InputError

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
    assert_close(got, want.transpose(1, 2), ulps=OP_ULPS)
    assert weights is None


@given(st.lists(st.sampled_from([1, 7, 256, 300]), min_size=1, max_size=9))
@settings(max_examples=60, deadline=None)
def test_equals_attention_piece_by_piece(lengths: list[int]) -> None:
    query, key, value = torch.randn(3, 1, 1, sum(lengths), 2)
    got, _ = packed_attention(nn.Identity(), query, key, value, segments=Segments(lengths))
    want = [
        scaled_dot_product_attention(*parts)
        for parts in zip(*(tensor.split(lengths, 2) for tensor in (query, key, value)), strict=True)
    ]
    assert_close(got, torch.cat(want, 2).transpose(1, 2), ulps=OP_ULPS)


def test_segments_may_come_as_the_mask() -> None:
    query, key, value = torch.randn(3, 1, 2, 7, 4)
    segments = Segments([3, 4])
    want, _ = packed_attention(nn.Identity(), query, key, value, segments=segments)
    got, _ = packed_attention(nn.Identity(), query, key, value, segments)
    assert torch.equal(got, want)
    for mask in (None, torch.ones(1, 1, 7, 7, dtype=torch.bool)):
        with pytest.raises(InputError, match="needs its Segments"):
            packed_attention(nn.Identity(), query, key, value, mask)


def test_key_and_value_with_fewer_heads_serve_several() -> None:
    query, (key, value) = torch.randn(1, 6, 7, 4), torch.randn(2, 1, 2, 7, 4)
    segments = Segments([3, 4])
    got, _ = packed_attention(nn.Identity(), query, key, value, segments=segments)
    owner = torch.tensor([0, 0, 0, 1, 1, 1, 1])
    mask = owner[:, None] == owner[None, :]
    want = scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True)
    assert_close(got, want.transpose(1, 2), ulps=OP_ULPS)


def test_a_float32_rope_does_not_raise_the_output() -> None:
    query, key = torch.randn(2, 1, 2, 7, 4)
    value = torch.randn(1, 2, 7, 4, dtype=torch.bfloat16)
    got, _ = packed_attention(nn.Identity(), query, key, value, segments=Segments([3, 4]))
    assert got.dtype == torch.bfloat16


def test_is_registered_with_a_mask() -> None:
    name = register_packed_attention()
    assert "flash" not in name
    assert name in AttentionInterface().valid_keys()
    assert name in AttentionMaskInterface().valid_keys()
