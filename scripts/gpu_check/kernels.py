"""Attention kernels: torch's, one by one, the backends', those of other packages, and an exact one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import cast

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from vision_composer.attention import select_attn_backend
from vision_composer.attention.packed_kernels import PackedKernel, packed_kernel
from vision_composer.attention.segments import Segments

from .packages import FLASH_PACKAGES, version

Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Query, key and value of the shape (images, tokens, heads, head size) -> the output, of the same shape.

Packed images are one image of all their tokens."""


def dense_kernels(device: torch.device) -> dict[str, Kernel]:
    kernels: dict[str, Kernel] = {"sdpa": sdpa, "eager": eager}
    if device.type == "cuda":
        for backend in (
            SDPBackend.FLASH_ATTENTION,
            SDPBackend.CUDNN_ATTENTION,
            SDPBackend.EFFICIENT_ATTENTION,
        ):
            kernels[f"sdpa {backend.name.lower()}"] = partial(sdpa_of, backend)
    for package in FLASH_PACKAGES:
        if version(package.distribution):
            kernels[package.distribution] = partial(flash, package.module)
    return kernels


def sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    q, k, v = (tensor.transpose(1, 2) for tensor in (query, key, value))
    return scaled_dot_product_attention(q, k, v).transpose(1, 2)


def sdpa_of(backend: SDPBackend, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    with sdpa_kernel(backend):
        return sdpa(query, key, value)


def eager(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    q, k, v = (tensor.transpose(1, 2) for tensor in (query, key, value))
    weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).float().softmax(dim=-1).to(q.dtype)
    return (weights @ v).transpose(1, 2)


def flash(module: str, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    output = import_module(module).flash_attn_func(query, key, value)
    return cast(Tensor, output[0] if isinstance(output, tuple) else output)


def packed_kernels(
    device: torch.device, dtype: torch.dtype, head_size: int, lengths: Sequence[int]
) -> dict[str, Kernel]:
    """Those of all backends that work there, for images of these tokens in one sequence."""
    segments = Segments(lengths, device)
    working = select_attn_backend(head_size, dtype, device, packed=True).working
    return {backend.value: partial(packed, packed_kernel(backend), segments) for backend in working}


def packed(kernel: PackedKernel, segments: Segments, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    output = kernel(query[0], key[0], value[0], segments, scale=query.shape[-1] ** -0.5)
    return output[None]


def exact(lengths: Sequence[int], query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention inside each piece of the sequence, image after image, in the inputs' dtype."""
    flat = [tensor.flatten(0, 1).split(list(lengths)) for tensor in (query, key, value)]
    outputs = []
    for q, k, v in zip(*flat, strict=True):
        q, k, v = (tensor.transpose(0, 1) for tensor in (q, k, v))
        outputs.append(((q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1) @ v).transpose(0, 1))
    return torch.cat(outputs).view(query.shape)
