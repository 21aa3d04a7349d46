"""Attention over a packed sequence as one operator of torch, so that torch.compile traces blocks whole.

The lengths of the segments reach the operator as a small tensor on the CPU, which is read when it runs. So
the compiled graph does not depend on them, and the device does not wait. A CUDA graph would replay the
launches of the lengths that it was recorded with: the operators are tagged, so that torch records none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.library import custom_op
from torch.nn.functional import dropout as drop
from torch.nn.functional import scaled_dot_product_attention

if TYPE_CHECKING:
    from .segments import Segments

_MOST_WEIGHTS = 2**26
"""Most attention weights to hold in memory at once; one segment alone may have more."""


def attend_in_groups(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Segments,
    *,
    scale: float,
    dropout: float = 0.0,
    eager: bool = False,
) -> Tensor:
    """Attend inside each segment, with one call per distinct length and without a (tokens, tokens) mask.

    Args:
        query: (tokens, heads, head_size).
        key: Like ``query``.
        value: Like ``query``.
        segments: Which tokens attend to each other.
        scale: Factor on the products of queries and keys.
        dropout: Probability with which attention weights are dropped.
        eager: Whether to compute two matrix products with a float32 softmax between them, as transformers'
            eager attention does, instead of calling sdpa.

    Returns:
        (tokens, heads, head_size), contiguous.
    """
    tables = (segments.groups, segments.order, segments.inverse)
    if not torch.compiler.is_compiling():
        # Without the operator, autograd keeps what the operator's backward pass computes again.
        return _attend(query, key, value, *tables, scale, dropout, eager)
    # The seed is drawn here, so that the backward pass drops the same weights.
    seed = torch.randint(2**62, (), device="cpu") if dropout else None
    output: Tensor = packed_attention_op(query, key, value, *tables, scale, dropout, seed, eager)
    return output


@custom_op("vision_composer::packed_attention", mutates_args=(), tags=(torch.Tag.cudagraph_unsafe,))
def packed_attention_op(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    groups: Tensor,
    order: Tensor,
    inverse: Tensor,
    scale: float,
    dropout: float,
    seed: Tensor | None,
    eager: bool,
) -> Tensor:
    """Run :func:`attend_in_groups` with the tables of ``Segments``, and a seed (int64, CPU) for dropout."""
    with _seeded(seed, query.device):
        # The backward pass could not repeat how sdpa's kernels draw their dropout.
        return _attend(query, key, value, groups, order, inverse, scale, dropout, eager or dropout > 0)


@custom_op("vision_composer::packed_attention_backward", mutates_args=(), tags=(torch.Tag.cudagraph_unsafe,))
def packed_attention_backward_op(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    groups: Tensor,
    order: Tensor,
    inverse: Tensor,
    scale: float,
    dropout: float,
    seed: Tensor | None,
    eager: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of query, key and value."""
    kernel = query.device.type == "cpu" and not eager and not dropout
    grads: list[list[Tensor]] = []
    with _seeded(seed, query.device):
        for g, q, k, v in _batches((grad, query, key, value), groups, order, split=not kernel):
            found = _kernel_gradients(g, q, k, v, scale) if kernel else _gradients(g, q, k, v, scale, dropout)
            grads.append([part.transpose(1, 2).flatten(0, 1) for part in found])
    query_grad, key_grad, value_grad = (
        _joined(list(parts), groups, inverse) for parts in zip(*grads, strict=True)
    )
    return query_grad, key_grad, value_grad


@packed_attention_op.register_fake
def _(query: Tensor, *_: Any) -> Tensor:
    return query.new_empty(query.shape)


@packed_attention_backward_op.register_fake
def _(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return query.new_empty(query.shape), key.new_empty(key.shape), value.new_empty(value.shape)


def _keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.scale, ctx.dropout, seed, ctx.eager = inputs
    ctx.save_for_backward(*tensors, seed)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, seed = ctx.saved_tensors
    grads = packed_attention_backward_op(grad, *tensors, ctx.scale, ctx.dropout, seed, ctx.eager)
    return (*grads, *[None] * 7)


packed_attention_op.register_autograd(_backward, setup_context=_keep_inputs)


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    groups: Tensor,
    order: Tensor,
    inverse: Tensor,
    scale: float,
    dropout: float,
    eager: bool,
) -> Tensor:
    outputs = []
    for q, k, v in _batches((query, key, value), groups, order, split=eager):
        if eager:
            output = drop(_weights(q, k, scale), dropout) @ v
        else:
            output = scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scale)
        outputs.append(output.transpose(1, 2).flatten(0, 1))
    return _joined(outputs, groups, inverse)


def _batches(
    tensors: tuple[Tensor, ...], groups: Tensor, order: Tensor, *, split: bool
) -> Iterator[tuple[Tensor, ...]]:
    """Yield (tokens, heads, head_size) tensors as batches of segments of one length.

    A batch is (segments, heads, length, head_size).
    With ``split``, a batch has no more segments than ``_MOST_WEIGHTS`` allows.
    """
    (in_order, _), *sizes = groups.tolist()
    if not in_order:
        tensors = tuple(tensor.index_select(0, order) for tensor in tensors)
    start = 0
    for length, pieces in sizes:
        most = max(1, _MOST_WEIGHTS // (tensors[0].shape[1] * length**2)) if split else pieces
        for first in range(0, pieces, most):
            count = min(most, pieces - first)
            stop = start + count * length
            shape = (count, length, *tensors[0].shape[1:])
            yield tuple(tensor[start:stop].view(shape).transpose(1, 2) for tensor in tensors)
            start = stop


def _joined(parts: list[Tensor], groups: Tensor, inverse: Tensor) -> Tensor:
    """Join the results of the batches in the order of the sequence."""
    tokens = parts[0] if len(parts) == 1 else torch.cat(parts)
    return tokens.contiguous() if groups[0, 0] else tokens.index_select(0, inverse)


def _weights(query: Tensor, key: Tensor, scale: float) -> Tensor:
    return (query @ key.transpose(-1, -2) * scale).softmax(dim=-1, dtype=torch.float32).to(query.dtype)


def _kernel_gradients(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute gradients with the kernels that sdpa runs on the CPU."""
    aten = torch.ops.aten
    output, logsumexp = aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, scale=scale)
    grads: tuple[Tensor, Tensor, Tensor] = aten._scaled_dot_product_flash_attention_for_cpu_backward(
        grad, query, key, value, output, logsumexp, 0.0, False, scale=scale
    )
    return grads


def _gradients(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, scale: float, dropout: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute gradients by the rules for matrix products and softmax, on any device."""
    weights = _weights(query, key, scale)
    kept = drop(torch.ones_like(weights), dropout)
    value_grad = (weights * kept).transpose(-1, -2) @ grad
    weights_grad = (grad @ value.transpose(-1, -2) * kept).float()
    logits_grad = weights * (weights_grad - (weights * weights_grad).sum(-1, keepdim=True))
    logits_grad = (logits_grad * scale).to(query.dtype)
    return logits_grad @ key, logits_grad.transpose(-1, -2) @ query, value_grad


@contextmanager
def _seeded(seed: Tensor | None, device: torch.device) -> Iterator[None]:
    """Draw random numbers from ``seed`` inside; afterwards torch's random state is as it was before."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(seed))
        yield
