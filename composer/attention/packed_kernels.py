"""The functions that compute attention over a packed sequence: one per backend, all of one signature."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.nn.attention.varlen import varlen_attn

from ..errors import BackendError
from .backends import REQUIREMENTS, AttentionBackend
from .packed_op import attend_in_groups

if TYPE_CHECKING:
    from .segments import Segments

PackedKernel = Callable[..., Tensor]
"""``kernel(query, key, value, segments, *, scale, dropout)``, all (tokens, heads, head_size)."""


def packed_kernel(backend: AttentionBackend) -> PackedKernel:
    """Return the function that runs ``backend``.

    Raises:
        BackendError: If the package with the backend's kernels cannot be imported.
    """
    kernels: dict[AttentionBackend, PackedKernel] = {
        AttentionBackend.SDPA: attend_in_groups,
        AttentionBackend.EAGER: partial(attend_in_groups, eager=True),
        AttentionBackend.VARLEN: _varlen,
        AttentionBackend.FLEX_ATTENTION: _flex,
    }
    return kernels.get(backend) or _flash(backend)


def _varlen(
    query: Tensor, key: Tensor, value: Tensor, segments: Segments, *, scale: float, dropout: float = 0.0
) -> Tensor:
    _refuse_dropout("varlen", dropout)
    ends, longest = segments.cu_seqlens, segments.max_length
    output = varlen_attn(query, key, value, ends, ends, longest, longest, scale=scale)
    return cast(Tensor, output)  # it is a tuple only if more is asked for


def _flash(backend: AttentionBackend) -> PackedKernel:
    package = REQUIREMENTS[backend].package
    if package is None:
        raise BackendError(f"attention backend {backend.value} has no package")
    if package.active:
        return _varlen  # runs the same kernels then, and torch.compile traces it whole
    try:
        function = import_module(package.module).flash_attn_varlen_func
    except (ImportError, AttributeError) as error:
        raise BackendError(
            f"attention backend {backend.value} cannot be imported: {error}; reinstall "
            f"{package.distribution}, or use another attn_backend"
        ) from error
    return partial(_flash_package, function, backend)


def _flash_package(
    function: Callable[..., Any],
    backend: AttentionBackend,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Segments,
    *,
    scale: float,
    dropout: float = 0.0,
) -> Tensor:
    options: dict[str, Any] = {"softmax_scale": scale, "causal": False}
    if backend is AttentionBackend.FLASH_ATTENTION_2:
        options["dropout_p"] = dropout
    else:
        _refuse_dropout(backend.value, dropout)
    output = function(
        query,
        key,
        value,
        cu_seqlens_q=segments.cu_seqlens,
        cu_seqlens_k=segments.cu_seqlens,
        max_seqlen_q=segments.max_length,
        max_seqlen_k=segments.max_length,
        **options,
    )
    # Some versions return the normaliser of the softmax as well.
    tokens: Tensor = output[0] if isinstance(output, tuple) else output
    return tokens


def _flex(
    query: Tensor, key: Tensor, value: Tensor, segments: Segments, *, scale: float, dropout: float = 0.0
) -> Tensor:
    _refuse_dropout("flex_attention", dropout)
    q, k, v = (tensor.transpose(0, 1).unsqueeze(0) for tensor in (query, key, value))
    # Compiled, it never holds all products of queries and keys. On the CPU there is only a reference.
    plain = query.device.type == "cpu" or torch.compiler.is_compiling()
    output = (_flex_call if plain else _fused_flex)(q, k, v, segments.block_mask, scale)
    return output[0].transpose(0, 1)


def _fused_flex(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask, scale: float) -> Tensor:
    from torch._dynamo.exc import FailOnRecompileLimitHit

    try:
        return _compiled_flex(*query.shape[1::2], query.dtype)(query, key, value, mask, scale)
    except FailOnRecompileLimitHit:
        message = (
            "flex_attention runs uncompiled and holds all products of queries and keys: torch's limit on "
            "recompilations is reached; raise torch._dynamo.config.recompile_limit, or use another backend"
        )
        warnings.warn(message, stacklevel=2)
        return _flex_call(query, key, value, mask, scale)


@cache
def _compiled_flex(heads: int, head_size: int, dtype: torch.dtype) -> Callable[..., Tensor]:
    """Return flex_attention for queries of one kind, compiled, with a code object of its own.

    dynamo counts recompilations by code object, and beyond its limit runs the function uncompiled. On one
    object, encoders of several head sizes, and whoever else uses flex_attention, would use up one limit.
    """
    own = FunctionType(_flex_call.__code__.replace(), _flex_call.__globals__, _flex_call.__name__)
    compiled: Callable[..., Tensor] = torch.compile(own, dynamic=True, fullgraph=True)
    return compiled


def _flex_call(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask, scale: float) -> Tensor:
    return flex_attention(query, key, value, block_mask=mask, scale=scale)


def _refuse_dropout(name: str, dropout: float) -> None:
    if dropout:
        raise BackendError(
            f"attention backend {name} has no dropout, and attention_dropout is {dropout}; to train, set it "
            "to 0, or use sdpa or eager"
        )
