"""What transformers' logging is during a load or a save, and that it is then what it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from transformers.utils import logging as transformers_logging

from vision_composer.weights.quiet import quiet_transformers

pytestmark = pytest.mark.filterwarnings("ignore:Cannot enable progress bars")  # of the hub's client

LOGGING: Any = transformers_logging  # untyped
SILENT = (LOGGING.ERROR, False)


def state() -> tuple[int, bool]:
    return LOGGING.get_verbosity(), LOGGING.is_progress_bar_enabled()


@pytest.fixture(params=[True, False], ids=["bars", "no bars"])
def talkative(request: pytest.FixtureRequest) -> Iterator[tuple[int, bool]]:
    """transformers at its most talkative, with and without bars."""
    before = state()
    switch = {True: LOGGING.enable_progress_bar, False: LOGGING.disable_progress_bar}
    LOGGING.set_verbosity_info()
    switch[request.param]()
    yield state()
    LOGGING.set_verbosity(before[0])
    switch[before[1]]()


def test_it_is_silent_inside_and_as_before_outside(talkative: tuple[int, bool]) -> None:
    with quiet_transformers():
        assert state() == SILENT
    assert state() == talkative


def test_one_inside_another_changes_nothing(talkative: tuple[int, bool]) -> None:
    seen: list[tuple[int, bool]] = []

    def nested() -> None:
        with quiet_transformers():
            with quiet_transformers():
                seen.append(state())
            seen.append(state())

    thread = threading.Thread(target=nested, daemon=True)  # which may wait for itself for ever
    thread.start()
    thread.join(10)
    assert seen == [SILENT, SILENT]
    assert state() == talkative


def test_it_is_as_before_after_an_error(talkative: tuple[int, bool]) -> None:
    with pytest.raises(KeyError), quiet_transformers():
        raise KeyError
    assert state() == talkative


def test_a_thread_that_leaves_does_not_end_anothers_silence(talkative: tuple[int, bool]) -> None:
    entered, leave = ([threading.Event(), threading.Event()] for _ in range(2))

    def stay(i: int) -> None:
        with quiet_transformers():
            entered[i].set()
            leave[i].wait(10)

    threads = [threading.Thread(target=stay, args=(i,), daemon=True) for i in range(2)]
    threads[0].start()
    assert entered[0].wait(10)
    threads[1].start()
    entered[1].wait(0.2)  # it would be inside by now if nothing held it back
    leave[0].set()
    threads[0].join(10)
    assert entered[1].wait(10)
    assert state() == SILENT
    leave[1].set()
    threads[1].join(10)
    assert state() == talkative
