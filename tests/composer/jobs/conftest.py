"""The processes that tests of worker processes share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from support.pools import MakeProcesses, Shared

from vision_composer.jobs.nursery import Nursery
from vision_composer.jobs.processes import ProcessPool


@pytest.fixture(scope="session")
def nursery() -> Iterator[Shared]:
    """What worker processes are forked from; starting it takes seconds."""
    shared = Shared()
    yield shared
    Nursery.close(shared)


@pytest.fixture
def processes(nursery: Shared) -> Iterator[MakeProcesses]:
    """Makes pools of worker processes."""
    with ExitStack() as stack:
        yield lambda read, workers: stack.enter_context(ProcessPool(nursery, read, workers))
