"""A hash that tells two sets of weights apart, without reading all of them."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

from ..weights import plain_tensors

_SAMPLE = 64


def weights_hash(module: nn.Module) -> str:
    """Return SHA-256, in hexadecimal, of names, shapes and some values of every parameter and buffer."""
    digest = hashlib.sha256()
    for name, tensor in sorted(plain_tensors(module), key=lambda named: named[0]):
        values = tensor.detach().reshape(-1)
        some = values[:: max(1, len(values) // _SAMPLE)][: 2 * _SAMPLE].cpu()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(some.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
