"""Put a module into evaluation mode while one or more threads need it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch
from torch import nn


class EvaluationMode:
    """Puts a module into evaluation mode without gradients while any thread is inside.

    The first thread to enter remembers the mode of every submodule, and the last one to leave restores it. If
    every thread restored the mode, one of them could switch training on while another is still running.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._modes: dict[nn.Module, bool] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return EvaluationMode, ()  # a copied module starts outside, with a lock of its own

    @contextmanager
    def __call__(self, module: nn.Module) -> Iterator[None]:
        """Put ``module`` into evaluation mode without gradients inside the ``with`` block."""
        with self._lock:
            if not self._inside:
                self._modes = {child: child.training for child in module.modules()}
                module.eval()
            self._inside += 1
        try:
            with torch.no_grad():
                yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    for child, training in self._modes.items():
                        child.training = training
                    self._modes = {}
