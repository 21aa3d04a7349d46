"""Clocks and counters: interleaved rounds, peak memory, compiled graphs, the peak of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch.nn.functional import linear

from ..errors import InputError
from ..running.products import cpu_name

Inputs = Mapping[str, torch.Tensor]
"""What an encoder is called with, by name."""

Run = Callable[[], Any]
"""One forward; returns the features."""

_SIDES = {"cpu": (1024, 2048), "cuda": (8192,)}
"""Rows of the square matrices whose product is the machine's peak: large enough to be bound by arithmetic. A
CPU's tile units (AMX) are so fast that the larger ones can be bound by caches."""


def timed(run: Run, device: torch.device) -> tuple[float, Any]:
    """Seconds of wall time until the result is there, and the result."""
    synchronize(device)
    start = time.perf_counter()
    result = run()
    synchronize(device)
    return time.perf_counter() - start, result


def synchronize(device: torch.device) -> None:
    """Wait for what ``device`` was given to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def interleaved(runs: Sequence[Run], rounds: int, device: torch.device) -> list[tuple[float, ...]]:
    """Seconds of every run in every round.

    In a round each runs once, so that whatever else the machine does meets all of them alike; every round
    begins with another one, so that none always follows the same neighbour.

    Raises:
        InputError: If there is not even one round.
    """
    if rounds < 1:
        raise InputError(f"{rounds} rounds measure nothing; at least 1")
    seconds: list[list[float]] = [[] for _ in runs]
    for number in range(rounds):
        for i in rotated(range(len(runs)), number):
            seconds[i].append(timed(runs[i], device)[0])
    return [tuple(each) for each in seconds]


def rotated(items: Sequence[int], by: int) -> Iterator[int]:
    """``items`` from the one numbered ``by`` on, those before it last."""
    start = by % len(items) if items else 0
    yield from items[start:]
    yield from items[:start]


def peak_bytes(run: Run, device: torch.device) -> int:
    """The most memory that one run holds at once above what it found: intermediate results and features.

    Exact on both: torch's own allocator reports every block, those inside of kernels too.
    """
    if device.type == "cuda":
        synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    cpu = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=cpu, profile_memory=True) as profile:
        features = run()  # held until the profile ends
    del features
    if profile.profiler is None or profile.profiler.kineto_results is None:
        return 0
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    return highest(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))


def highest(changes: Iterable[int]) -> int:
    """The highest level that a sequence of changes, in bytes, reaches from 0."""
    return max(accumulate(changes, initial=0))


def compiled_graphs() -> int:
    """Graphs that torch.compile has made in this process so far."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def matmuls(device: torch.device, dtype: torch.dtype) -> list[tuple[Run, int]]:
    """Products of two large square matrices, each with its floating-point operations.

    The fastest of them is the machine's peak: laid out as a linear layer's, and on a CPU also with weights
    that oneDNN has packed, as those of frozen blocks are, which its tile units need to be fed in time.
    """
    products: list[tuple[Run, int]] = []
    for side in _SIDES.get(device.type, (2048,)):
        rows, weight = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        products.append((partial(linear, rows, weight), 2 * side**3))
        if device.type == "cpu" and _packs(dtype):
            packed = torch.ops.mkldnn._reorder_linear_weight(weight, side)
            run = partial(torch.ops.mkldnn._linear_pointwise, rows, packed, None, "none", [], "")
            products.append((run, 2 * side**3))
    return products


def _packs(dtype: torch.dtype) -> bool:
    """Return whether oneDNN packs weights of this dtype on this processor."""
    if not torch._C._has_mkldnn:
        return False
    bfloat16 = dtype is torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype is torch.float32 or bool(bfloat16)


def device_name(device: torch.device) -> str:
    """What the maker calls it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return cpu_name()
