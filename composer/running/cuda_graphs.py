"""Record what runs on a GPU, and run it again with one launch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor


class Recorder(Protocol):
    """What records."""

    def __call__(self, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Record what a function does on the device, and return a function that does it again: with the same
        memory, and for what stands there by then. It returns the same tensor every time, with other
        values."""

    def one_at_a_time(self) -> AbstractContextManager[None]:
        """Return a context in which memory of the recordings may be written, run and read."""


class CudaGraphs:
    """Records CUDA graphs, all in one pool of memory: they run one after the other.

    Args:
        device: The GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = None
        self._last: torch.cuda.Event | None = None

    def __call__(self, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        ahead, here = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        ahead.wait_stream(here)
        with torch.cuda.stream(ahead):
            run()  # what is compiled or chosen by trying is so before
        here.wait_stream(ahead)
        graph = torch.cuda.CUDAGraph()
        # What other threads do to the device meanwhile is none of the recording's business.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            output = run()
        self._pool = graph.pool()

        def replay() -> Tensor:
            graph.replay()
            return output

        return replay

    @contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """Let the device begin what is launched inside only after what was launched in the last such context,
        be it in another stream."""
        with torch.cuda.device(self._device):
            stream = torch.cuda.current_stream()
            if self._last is not None:
                stream.wait_event(self._last)
            yield
            self._last = stream.record_event()
