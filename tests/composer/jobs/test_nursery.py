"""The process that workers come from: it says how each ended, and goes when nobody needs it."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from support.jobs import draw
from support.pools import Reading, answers, dies_of_red, started, tasks
from support.processors import preprocessor

from vision_composer.jobs.arena import make_memory
from vision_composer.jobs.nursery import Nursery


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    with Nursery(Reading(dies_of_red)) as nursery:
        nursery._answer()
        yield nursery


def forked(nursery: Nursery) -> tuple[int, Connection]:
    """A worker, and our end of its connection."""
    channel, theirs = Pipe()
    memories = make_memory(), make_memory()
    worker = nursery.fork(theirs.fileno(), memories)
    theirs.close()
    for memory in memories:
        os.close(memory)
    return worker, channel


def has_ended(worker: int) -> bool:
    """Whether a process is over, though nobody has waited for it yet."""
    return Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_worker_that_is_ended(nursery: Nursery) -> None:
    worker, channel = forked(nursery)
    with channel:
        assert not has_ended(worker)
        assert nursery.end(worker) == -signal.SIGKILL
    assert not Path(f"/proc/{worker}").exists()


def test_a_worker_ends_by_itself_when_nobody_asks_any_more(nursery: Nursery) -> None:
    worker, channel = forked(nursery)
    channel.close()
    for _ in range(1000):
        if has_ended(worker):
            break
        time.sleep(0.01)
    assert nursery.end(worker) == 0


def test_a_nursery_that_is_gone() -> None:
    nursery = Nursery.__new__(Nursery)  # without its process
    nursery._control, theirs = socket.socketpair()
    theirs.close()
    with nursery._control, pytest.raises(ConnectionError, match="the process that starts workers is gone"):
        nursery.is_ready()


def test_nothing_stays_when_the_job_is_killed(tmp_path: Path) -> None:
    """The nursery and its workers end when their connections do; nobody has to end them."""
    pool = started(preprocessor().reader, 1)
    answers(pool, tasks(draw(tmp_path, 1), 1))
    worker = pool._workers[0]._process
    pool._nursery._control.close()
    pool._workers[0].channel.close()
    pool._nursery._process.wait(timeout=20)
    for _ in range(200):
        if not Path(f"/proc/{worker}/exe").exists():
            return
        signal.sigtimedwait([], 0.05)
    pytest.fail("a worker is still there")
