"""The processes of tests of worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from support.pools import MakeProcesses, started


@pytest.fixture
def processes() -> Iterator[MakeProcesses]:
    """Makes pools of worker processes."""
    with ExitStack() as stack:
        yield lambda read, workers: stack.enter_context(started(read, workers))
