"""Functions run in processes of their own: what they raise, and the time and memory that they take."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from support.pace import pace
from support.ranks import CONTEXT


@dataclass(frozen=True)
class Outcome:
    """How a function ended.

    Attributes:
        error: The class of what it raised, or "died" or "still running"; empty if it returned.
        message: What that says.
        seconds: Of computing, on a machine that `pace` gives 1 for.
        peak_bytes: Memory of the process at most, with what it had imported before.
    """

    error: str
    message: str = ""
    seconds: float = 0.0
    peak_bytes: int = 0


def measured(function: Callable[..., Any], *arguments: Any, seconds: float = 30) -> Outcome:
    """Run a function in a process of its own, which is ended after ``seconds``."""
    pipe, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_run, args=(theirs, function, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        if not pipe.poll(seconds):
            return Outcome("still running")
        outcome: Outcome = pipe.recv()
        return outcome
    except EOFError:
        return Outcome("died")
    finally:
        process.kill()
        process.join()
        pipe.close()


def _run(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    before = pace()
    start = time.process_time()
    error = message = ""
    try:
        function(*arguments)
    except BaseException as raised:
        error, message = type(raised).__name__, str(raised)
    seconds = (time.process_time() - start) / max(before, pace())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    pipe.send(Outcome(error, message, seconds, peak))
