"""Every attention kernel, dense and packed, beside attention in float64, and its times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..compare import largest_error
from ..kernels import Kernel, dense_kernels, exact, packed_kernels
from ..measure import brief, microseconds
from ..recorder import Recorder

HEAD_SIZES = (64, 72, 80, 88, 96, 104, 112, 128)


def check(record: Recorder) -> None:
    for head_size in HEAD_SIZES if record.on_gpu else (64, 72):
        record(f"head size {head_size}", partial(attention, record, head_size, compiled=False))
    for head_size in (64, 72, 128) if record.on_gpu else ():  # each is compiled, which takes its time
        record(f"head size {head_size}, flex", partial(attention, record, head_size, compiled=True))


def attention(record: Recorder, head_size: int, *, compiled: bool) -> list[dict[str, Any]]:
    """Of the packed kernels, flex_attention alone, which is compiled; or the others, after the dense ones."""
    images = [577] * 8 if record.on_gpu else [17] * 2
    lengths = [1024, 1024, 700, 333, *[256] * 4, *[64] * 16] if record.on_gpu else [24, 16, 16]
    rows = []
    for dtype in (torch.bfloat16,) if compiled else (torch.float16, torch.bfloat16):
        if not compiled:
            dense = dense_kernels(record.device)
            rows += rows_of(record, "dense", dense, (len(images), images[0], head_size), images, dtype)
        packed = packed_kernels(record.device, dtype, head_size, lengths)
        packed = {name: run for name, run in packed.items() if (name == "flex_attention") == compiled}
        rows += rows_of(record, "packed", packed, (1, sum(lengths), head_size), lengths, dtype)
    return rows


def rows_of(
    record: Recorder,
    shape: str,
    kernels: Mapping[str, Kernel],
    size: tuple[int, int, int],
    lengths: Sequence[int],
    dtype: torch.dtype,
) -> list[dict[str, Any]]:
    """One for each kernel. ``size`` is images, tokens and head size; ``lengths`` are the pieces' tokens."""
    heads = 16 if record.on_gpu else 2
    images, tokens, head_size = size
    torch.manual_seed(0)
    query, key, value, grad = (
        torch.randn(images, tokens, heads, head_size, device=record.device).to(dtype) for _ in range(4)
    )
    inputs = (query, key, value)
    want = both_ways(partial(exact, lengths), [tensor.double() for tensor in inputs], grad)
    rows = []
    for name, kernel in kernels.items():
        row = {"shape": shape, "dtype": str(dtype).removeprefix("torch."), "kernel": name}
        rows.append(row | compared(kernel, inputs, grad, want))
    return rows


def compared(
    kernel: Kernel, inputs: Sequence[Tensor], grad: Tensor, want: Sequence[Tensor]
) -> dict[str, Any]:
    """Errors and times of one kernel, of its forward even if its backward fails."""
    row: dict[str, Any] = {}
    try:
        with torch.no_grad():
            row["forward error"] = largest_error([kernel(*inputs)], want[:1])
            row["forward us"] = microseconds(lambda: kernel(*inputs), grad.device)
    except Exception as error:
        return {"error": brief(error)}
    try:
        row["backward error"] = largest_error(both_ways(kernel, inputs, grad)[1:], want[1:])
        row["both us"] = microseconds(lambda: both_ways(kernel, inputs, grad), grad.device)
    except Exception as error:
        row["error"] = f"backward: {brief(error)}"
    return row


def both_ways(kernel: Kernel, inputs: Sequence[Tensor], grad: Tensor) -> list[Tensor]:
    """The output, and the gradients of the inputs."""
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    output = kernel(*leaves)
    return [output.detach(), *torch.autograd.grad(output, leaves, grad.to(output.dtype))]
