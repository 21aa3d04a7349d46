"""Arrays from one process to another through memory that both see."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

SIZE = 64 * 2**20
"""Bytes to begin with, and to keep; memory is taken only where something was written."""

Packed: TypeAlias = "dict[str, tuple[str, tuple[int, ...], int]]"
"""Arrays by name: dtype, shape, and where in the arena the numbers are."""

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

    def put(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Packed:
        """Write arrays, and return how to find them."""
        return {name: self._put(array) for name, array in arrays.items()}

    def _put(self, array: np.ndarray[Any, Any]) -> tuple[str, tuple[int, ...], int]:
        start = -(-self._next // _ALIGNMENT) * _ALIGNMENT
        self._next = start + array.nbytes
        if self._next > self.size:
            self._resize(2 * self._next)
        np.ndarray(array.shape, array.dtype, self._memory, start)[...] = array
        return array.dtype.str, array.shape, start

    def _resize(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)
        self._map(size)

    def _map(self, size: int) -> None:
        self._memory.close()
        self._memory = mmap.mmap(self._descriptor, size)

    def get(self, packed: Packed, size: int) -> dict[str, np.ndarray[Any, Any]]:
        """Return arrays that the other process wrote, in memory of their own.

        Args:
            packed: What ``put`` returned there.
            size: The size of the arena there, afterwards.
        """
        if size != self.size:
            self._map(size)
        # Copied: the memory could not be let go of while an array points into it.
        return {
            name: np.ndarray(shape, dtype, self._memory, start).copy()
            for name, (dtype, shape, start) in packed.items()
        }

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
        os.close(self._descriptor)
