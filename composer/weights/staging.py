"""The way of a tensor's bytes from a file to the device that computes with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Self

import torch

if TYPE_CHECKING:
    from torch import Tensor

HALF = 16 << 20
"""Bytes of half a buffer: enough that reading takes longer than starting to read."""


class Staging:
    """Memory of the host that a checkpoint's tensors pass on their way to a device, one tensor at a time.

    For a CUDA device it is one pinned buffer: while the device copies one half of it, a file is read into the
    other. For any other device a tensor is read whole; on the CPU it stays where it was read to.

    Used in a ``with`` statement, at whose end the device has all that was sent to it.

    Args:
        device: Where the tensors go.
    """

    def __init__(self, device: torch.device) -> None:
        # With its number: in another thread, the current device is another one.
        self.device = torch.empty(0, device=device).device
        self._halves: list[tuple[Tensor, torch.cuda.Event]] = []
        self._lock, self._ended = Lock(), False
        if device.type == "cuda":
            buffer = torch.empty(2 * HALF, dtype=torch.uint8, device="cpu", pin_memory=True)
            for half in torch.split(buffer, HALF):
                self._halves.append((half, torch.cuda.Event()))  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._ended = True
            if self._halves:
                torch.cuda.synchronize(self.device)
                self._halves.clear()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Let one thread of several pass a tensor, and after the end none.

        Raises:
            RuntimeError: After the end.
        """
        with self._lock:
            if self._ended:
                raise RuntimeError("the checkpoint is read, or could not be")
            yield

    def receive(self, size: int, read: Callable[[memoryview], object]) -> Tensor:
        """Return bytes on the device: (size,) uint8.

        Args:
            size: How many.
            read: Fills the memory that it is given with the next bytes; called once for every part.
        """
        if not self._halves:
            whole = torch.empty(size, dtype=torch.uint8, device="cpu")
            read(whole.numpy().data)
            return whole.to(self.device)
        there = torch.empty(size, dtype=torch.uint8, device=self.device)
        for part in torch.split(there, HALF):
            half, sent = self._halves[0]
            sent.synchronize()  # with what was read into it before
            here = half[: len(part)]
            read(here.numpy().data)
            part.copy_(here, non_blocking=True)
            sent.record(torch.cuda.current_stream(self.device))
            self._halves.reverse()
        return there

    def send(self, tensor: Tensor) -> Tensor:
        """Return a tensor of the host on the device; itself if that is the CPU."""
        if not self._halves:
            return tensor.to(self.device)
        content = tensor.contiguous().flatten().view(torch.uint8).numpy().data
        done = 0

        def read(part: memoryview) -> None:
            nonlocal done
            part[:] = content[done : done + len(part)]
            done += len(part)

        return self.receive(tensor.nbytes, read).view(tensor.dtype).view(tensor.shape)
