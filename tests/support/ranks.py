"""Functions run on several ranks: living processes on this machine, with gloo and short timeouts."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist

from vision_composer.encoders import FAMILIES

Outcome = tuple[bool, Any]
"""Whether a rank returned, and its result or traceback."""

# Ranks are forked from a process that has imported what takes long, once for all of them.
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "vision_composer.composing",
        "torch.distributed.fsdp",
        *sorted({family.module for family in FAMILIES.values()}),
    ]
)


class Ranks:
    """Processes that form one process group, and run function after function.

    Usable as a context manager, which ends them.

    Args:
        world: How many.
        once: Whether each ends after its first function. A rank that waits for one that gave up hears of it
            when that one ends.
    """

    def __init__(self, world: int, *, once: bool = False) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._processes = []
        self._pipes: list[Connection] = []
        for rank in range(world):
            pipe, theirs = CONTEXT.Pipe()
            arguments = (rank, world, self._folder.name, theirs, once)
            process = CONTEXT.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(pipe)
        self.in_step = True
        """Whether every rank returned from every function: if not, one may still wait for another."""

    def run(self, function: Callable[..., Any], *arguments: Any, seconds: float = 60) -> list[Outcome]:
        """Run a function on every rank at once.

        Args:
            function: What to run; it is handed over by name, so it must be importable.
            arguments: What it is given.
            seconds: How long to wait for all of them.

        Returns:
            An outcome of every rank, by rank.
        """
        for pipe in self._pipes:
            with suppress(OSError):  # a rank that died says so below
                pipe.send((function, arguments))
        end = time.monotonic() + seconds
        outcomes: list[Outcome] = []
        for pipe in self._pipes:
            try:
                answered = pipe.poll(max(0.0, end - time.monotonic()))
                outcomes.append(pipe.recv() if answered else (False, f"still running after {seconds} s"))
            except (EOFError, OSError):
                outcomes.append((False, "died"))
        self.in_step = self.in_step and all(good for good, _ in outcomes)
        return outcomes

    def close(self) -> None:
        """End the processes; ranks that wait end by themselves, so that what they ran is counted."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(5 if self.in_step else 0)
            process.kill()
            process.join()
        self._folder.cleanup()

    def __enter__(self) -> Ranks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def alone_in_a_group() -> Iterator[dist.ProcessGroup]:
    """Yield a group of this process alone, which ``compose`` would take for none."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        assert dist.group.WORLD is not None
        yield dist.group.WORLD
    finally:
        dist.destroy_process_group()


_living: dict[int, Ranks] = {}
"""World size -> the ranks that ``on_ranks`` uses."""


def on_ranks(world: int, function: Callable[..., Any], *arguments: Any, seconds: float = 60) -> list[Any]:
    """Run a function on living ranks, which are started where there are none.

    Ranks of which one failed are ended, so that the next call finds fresh ones.

    Returns:
        What the function returned, by rank.

    Raises:
        AssertionError: A rank raised, died, or took too long; with what every rank said.
    """
    ranks = _living.get(world) or _living.setdefault(world, Ranks(world))
    outcomes = ranks.run(function, *arguments, seconds=seconds)
    if not ranks.in_step:
        _living.pop(world).close()
    failed = [f"rank {rank}:\n{told}" for rank, (good, told) in enumerate(outcomes) if not good]
    assert not failed, "\n\n".join(failed)
    return [told for _, told in outcomes]


def end_ranks() -> None:
    """End all that ``on_ranks`` started."""
    while _living:
        _living.popitem()[1].close()


def _serve(rank: int, world: int, folder: str, pipe: Connection, once: bool) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=30),
    )
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:  # the test process is gone
            return
        try:
            outcome: Outcome = (True, function(*arguments))
        except BaseException:  # pytest's own failures are no Exception
            outcome = (False, traceback.format_exc())
        pipe.send(outcome)
        if once:
            return
