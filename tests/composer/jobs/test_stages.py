"""Items from one thread to another: in order, no more ahead than agreed on, and nobody waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from vision_composer.jobs.stages import Stage, StoppedError, start_thread


def soon(true: Callable[[], bool]) -> bool:
    """Whether something becomes true while another thread runs."""
    end = time.monotonic() + 10
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.001)
    return found


def test_items_come_in_order_and_no_more_wait_than_agreed_on() -> None:
    stage: Stage[int] = Stage(2)
    given: list[int] = []

    def give() -> None:
        for number in range(9):
            stage.put(number)
            given.append(number)

    thread = start_thread("giver", give, after=stage.end)
    assert soon(lambda: len(given) == 2)
    time.sleep(0.02)
    assert given == [0, 1]  # the third waits for room
    assert list(stage) == list(range(9))
    thread.join(10)
    assert stage.blocked > 0.01


def test_who_takes_waits_and_says_how_long() -> None:
    stage: Stage[int] = Stage(1)

    def give() -> None:
        time.sleep(0.02)
        stage.put(1)

    start_thread("giver", give, after=stage.end)
    assert list(stage) == [1]
    assert stage.waited > 0.01


def test_an_error_comes_behind_the_items_before_it() -> None:
    stage: Stage[int] = Stage(5)

    def give() -> None:
        stage.put(1)
        raise ValueError("no more")

    taken: list[int] = []
    start_thread("giver", give, after=stage.end).join(10)
    with pytest.raises(ValueError, match="no more"):
        taken.extend(stage)  # which keeps what it got before the error
    assert taken == [1]


def test_who_gives_is_told_that_nobody_takes_any_more() -> None:
    stage: Stage[int] = Stage(1)
    stage.put(1)
    ended: list[BaseException | None] = []
    thread = start_thread("giver", lambda: stage.put(2), after=ended.append)
    stage.stop()
    thread.join(10)
    assert ended == [None]  # to be stopped is no error
    with pytest.raises(StoppedError):
        stage.put(3)


def test_a_thread_says_how_it_ended() -> None:
    ended: list[BaseException | None] = []
    error = KeyboardInterrupt()

    def fail() -> None:
        raise error

    thread = start_thread("named", lambda: None, after=ended.append)
    thread.join(10)
    start_thread("failing", fail, after=ended.append).join(10)
    assert ended == [None, error]
    assert thread.name == "named"
    assert thread.daemon  # a thread that hangs does not keep the program
    assert not [other for other in threading.enumerate() if other.name == "failing"]


def test_without_room_who_gives_waits_until_it_is_taken() -> None:
    stage: Stage[int] = Stage(0)
    given = threading.Event()

    def give() -> None:
        stage.put(1)
        given.set()
        stage.end()

    thread = threading.Thread(target=give)
    thread.start()
    assert not given.wait(0.05)
    assert next(iter(stage)) == 1
    assert given.wait(10)
    thread.join()


def test_who_waits_for_it_to_be_taken_hears_that_nobody_takes_it() -> None:
    stage: Stage[int] = Stage(0)
    threading.Timer(0.05, stage.stop).start()
    with pytest.raises(StoppedError):
        stage.put(1)
