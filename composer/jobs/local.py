"""The engine ``local``: one encoder in this process, and worker processes that prepare its images."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError
from .batches import Limits
from .encoded import Encoded, Failed
from .forward import Forward
from .pipeline import Pipeline
from .plan import Output
from .pool import Pool, ThreadedPool
from .pooling import pooler_of
from .processes import ProcessPool
from .progress import Progress
from .unit import Unit

if TYPE_CHECKING:
    from ..vision_encoder import VisionEncoder

OnProgress = Callable[[Progress, "list[Encoded | Failed]"], None]

_FEW = 256
"""Images below which starting worker processes takes longer than they save."""
_MOST_WORKERS = 16
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Running:
    """How a job runs on this machine; changes no value by more than rounding.

    Attributes:
        workers: Processes that prepare images; 0 for threads of this one; None to choose by the machine.
        batch_size: Images per forward at most; None to choose by the device.
        batch_tokens: Patches per forward at most; None to choose by the device.
    """

    workers: int | None = None
    batch_size: int | None = None
    batch_tokens: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("workers", 0), ("batch_size", 1), ("batch_tokens", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} is {value}; it must be at least {least}")

    def limits(self, encoder: VisionEncoder) -> Limits:
        """Return how large batches are; as long as nothing is said, by the kind of device alone."""
        on_cpu = encoder.device.type == "cpu"
        images, tokens = (32, 8192) if on_cpu else (256, 65536)
        if self.batch_size is not None and self.batch_tokens is None:
            tokens = 2**62  # what was said counts
        return Limits(self.batch_size or images, self.batch_tokens or tokens)

    def num_workers(self, num_rows: int) -> int:
        """Return how many worker processes prepare ``num_rows`` images."""
        if self.workers is not None:
            return self.workers
        return 0 if num_rows < _FEW else min(_MOST_WORKERS, num_cores())


def num_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalEngine:
    """Runs units; the workers stay from one call to the next.

    Args:
        encoder: The encoder.
        output: What features are stored as.
        running: How it runs.
        pool: Prepares images.
    """

    def __init__(self, encoder: VisionEncoder, output: Output, running: Running, pool: Pool) -> None:
        self._encoder = encoder
        self._output = output
        self._running = running
        self._pool = pool

    def run(self, units: Iterable[Unit], num_rows: int, on_progress: OnProgress) -> Progress:
        """Encode units into their files.

        Args:
            units: The units.
            num_rows: Images of all units together.
            on_progress: Called every few images with the progress and the newest results.

        Raises:
            VisionComposerError: If it cannot go on.
        """
        encoder = self._encoder
        pooler = pooler_of(self._output.pool, encoder.plan)
        forward = Forward(encoder, self._output.store_dtype, pooler)
        feature_bytes = encoder.output_width * _BYTES[self._output.store_dtype]
        pipeline = Pipeline(encoder, self._pool, forward, self._running.limits(encoder), feature_bytes)
        start = time.perf_counter()
        progress = Progress(time=time.time(), num_rows=num_rows)

        def count(results: list[Encoded | Failed]) -> None:
            nonlocal progress
            encoded = [result for result in results if isinstance(result, Encoded)]
            progress = Progress(
                time=time.time(),
                num_done=progress.num_done + len(results),
                num_rows=num_rows,
                num_failed=progress.num_failed + len(results) - len(encoded),
                num_tokens=progress.num_tokens + sum(result.num_tokens for result in encoded),
                seconds=time.perf_counter() - start,
                waits_for_images=pipeline.waits.images,
                waits_for_writing=pipeline.waits.writing,
            )
            on_progress(progress, results)

        pipeline.run(units, count)
        return progress.model_copy(update={"seconds": time.perf_counter() - start})


@contextmanager
def local_engine(
    encoder: VisionEncoder, output: Output, running: Running, num_rows: int
) -> Iterator[LocalEngine]:
    """Start workers for a job of ``num_rows`` images, and end them afterwards."""
    workers = running.num_workers(num_rows)
    pool: Pool
    if workers:
        pool = ProcessPool(encoder.preprocessor.reader, workers)
    else:
        pool = ThreadedPool(encoder.preprocessor.reader, min(4, num_cores()))
    with pool:
        yield LocalEngine(encoder, output, running, pool)
