"""Tensors from one process to another through memory that both see."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

SIZE = 64 * 2**20
"""Bytes to begin with, and to keep; memory is taken only where something was written."""

Packed: TypeAlias = "dict[str, tuple[str, tuple[int, ...], int]]"
"""Tensors by name: dtype, shape, and where in the arena the numbers are."""

_ALIGNMENT = 64


def make_memory() -> int:
    """Return the descriptor of shared memory. It has no name, so nothing stays if its users die."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("vision-composer")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, SIZE)
    return descriptor


class Arena:
    """One process's view of shared memory, which one process writes and another reads, in turns.

    Args:
        descriptor: What :func:`make_memory` returned; the arena closes it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._memory = mmap.mmap(descriptor, SIZE)
        self._next = 0

    @property
    def size(self) -> int:
        """Bytes of the memory now; the reader has to know."""
        return len(self._memory)

    def clear(self) -> None:
        """Begin anew, over what was written before."""
        self._next = 0
        if self.size > SIZE:
            self._resize(SIZE)

    def put(self, tensors: Mapping[str, Tensor]) -> Packed:
        """Write tensors, and return how to find them."""
        return {name: self._put(tensor) for name, tensor in tensors.items()}

    def _put(self, tensor: Tensor) -> tuple[str, tuple[int, ...], int]:
        content = tensor.reshape(-1).view(torch.uint8).numpy()
        start = -(-self._next // _ALIGNMENT) * _ALIGNMENT
        self._next = start + content.nbytes
        if self._next > self.size:
            self._resize(2 * self._next)
        self._memory[start : self._next] = content.data
        return str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), start

    def _resize(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)
        self._map(size)

    def _map(self, size: int) -> None:
        self._memory.close()
        self._memory = mmap.mmap(self._descriptor, size)

    def get(self, packed: Packed, size: int) -> dict[str, Tensor]:
        """Return tensors that the other process wrote, in memory of their own.

        Args:
            packed: What ``put`` returned there.
            size: The size of the arena there, afterwards.
        """
        if size != self.size:
            self._map(size)
        return {name: self._get(*place) for name, place in packed.items()}

    def _get(self, dtype: str, shape: tuple[int, ...], start: int) -> Tensor:
        tensor = torch.empty(shape, dtype=getattr(torch, dtype))
        if tensor.numel():
            with memoryview(self._memory) as memory:
                there = torch.frombuffer(memory, dtype=torch.uint8, count=tensor.nbytes, offset=start)
                tensor.reshape(-1).view(torch.uint8).copy_(there)
                del there  # the memory could not be let go of while a tensor points into it
        return tensor

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
        os.close(self._descriptor)
