"""A CUDA device that is not here: its memory is the host's, and copies arrive when the host waits."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor


class SlowCopies:
    """Until the patches are taken back, tensors can be made on and copied to a CUDA device.

    Args:
        monkeypatch: Takes everything back.
        late: Whether copies from pinned memory that do not block arrive late; else at once.
        memory: A folder for files that are the device's memory; without one that is ordinary memory.

    Attributes:
        pinned_bytes: Pinned memory that was taken.
        on_way: Copies that have not arrived.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, late: bool = True, memory: Path | None = None
    ) -> None:
        self.pinned_bytes = 0
        self.on_way: list[tuple[Tensor, Tensor]] = []
        self.arrived = 0
        self._late, self._memory = late, memory
        self._pinned: set[int] = set()
        self._empty, self._copy = torch.empty, Tensor.copy_
        monkeypatch.setattr(torch, "empty", self._make)
        monkeypatch.setattr(torch.cuda, "Event", partial(_Event, self))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda device: self.arrive(len(self.on_way)))
        monkeypatch.setattr(Tensor, "copy_", lambda *given, **options: self._send(*given, **options))

    def arrive(self, copies: int) -> None:
        """Let the first ``copies`` of those on the way arrive."""
        for there, here in self.on_way[:copies]:
            self._copy(there, here)
        self.arrived += len(self.on_way[:copies])
        self.on_way = self.on_way[max(copies, 0) :]

    def _make(self, *size: Any, device: Any = None, pin_memory: bool = False, **options: Any) -> Any:
        on_device = device is not None and torch.device(device).type == "cuda"
        if on_device and not options:  # to learn its number
            return SimpleNamespace(device=torch.device("cuda", 0))
        if on_device and self._memory is not None and size[0]:
            file = self._memory / str(len(list(self._memory.iterdir())))
            return torch.from_file(str(file), shared=True, size=size[0], **options)
        made = self._empty(*size, device="cpu" if on_device else device, **options)
        if pin_memory:
            self.pinned_bytes += made.nbytes
            self._pinned.add(made.untyped_storage().data_ptr())
        return made

    def _send(self, there: Tensor, here: Tensor, non_blocking: bool = False) -> Tensor:
        if self._late and non_blocking and here.untyped_storage().data_ptr() in self._pinned:
            self.on_way.append((there, here))
            return there
        return self._copy(there, here)


class _Event:
    """The copies that were sent before it was recorded."""

    def __init__(self, device: SlowCopies) -> None:
        self._device = device
        self._sent = 0

    def record(self, stream: object) -> None:
        self._sent = self._device.arrived + len(self._device.on_way)

    def synchronize(self) -> None:
        self._device.arrive(max(self._sent - self._device.arrived, 0))
