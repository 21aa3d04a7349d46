"""Tools of the measurements: a clock, an ear for warnings, errors as results."""

from __future__ import annotations

import logging
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch
from torch._dynamo.utils import counters


def microseconds(run: Callable[[], Any], device: torch.device, rounds: int = 12) -> float:
    """Median time of one run: on the GPU between two events in its stream."""
    on_gpu = device.type == "cuda"
    for _ in range(3 if on_gpu else 1):
        run()
    timed = stream_time if on_gpu else wall_time
    return median(timed(run) for _ in range(rounds if on_gpu else 2))


def wall_time(run: Callable[[], Any]) -> float:
    """Microseconds of one run on the CPU."""
    begun = time.perf_counter()
    run()
    return (time.perf_counter() - begun) * 1e6


def stream_time(run: Callable[[], Any]) -> float:
    """Microseconds between two events in the GPU's stream."""
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    stop.record()
    stop.synchronize()
    return float(start.elapsed_time(stop)) * 1e3


def attempt(row: MutableMapping[str, Any], name: str, work: Callable[[], Any]) -> Any:
    """What ``work`` returns, with a line about it in ``row``."""
    try:
        result = work()
    except Exception as error:
        row[name] = brief(error)
        return None
    row[name] = result if isinstance(result, (str, int, float, bool)) else "ok"
    return result


def brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:400]}"


def set_tf32(allowed: bool) -> None:
    """Allow TF32 in products and convolutions of float32, or not; convolutions have it by default."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def cudagraph_counts() -> Counter[str]:
    """What inductor has counted about CUDA graphs so far."""
    return Counter({str(name): n for name, n in counters["inductor"].items() if "cudagraph" in str(name)})


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collect what is warned or logged inside."""
    heard: list[str] = []

    class Listener(logging.Handler):
        def emit(self, entry: logging.LogRecord) -> None:
            heard.append(entry.getMessage())

    listener = Listener(logging.WARNING)
    # torch's parts hand nothing on to their parents once torch has set up their handlers.
    names = [name for name in logging.root.manager.loggerDict if name.startswith("torch")]
    parts = [part for part in map(logging.getLogger, names) if part.name == "torch" or not part.propagate]
    for part in parts:
        part.addHandler(listener)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield heard
    finally:
        for part in parts:
            part.removeHandler(listener)
        heard.extend(str(warning.message) for warning in caught)


def shortened(heard: list[str]) -> str:
    """Every message once, for a cell of a table."""
    return " | ".join(text[:200] for text in dict.fromkeys(heard))[:600]
