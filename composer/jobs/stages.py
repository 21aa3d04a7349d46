"""What passes from one thread of a job to the next: a few items at a time, errors, and the wish to stop."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class StoppedError(Exception):
    """The other thread is gone."""


class Stage(Generic[T]):
    """A queue between two threads.

    Args:
        size: Items that may wait in it; with 0, who gives one waits until it is taken.

    Attributes:
        waited: Seconds that the taking thread has waited for items.
        blocked: Seconds that the giving thread has waited for room.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._ended = self._stopped = False
        self._error: BaseException | None = None
        self.waited = self.blocked = 0.0

    def put(self, item: T) -> None:
        """Give an item; wait until there is room.

        Raises:
            StoppedError: If nobody takes items any more.
        """
        start = time.perf_counter()
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._items) < max(self._size, 1))
            if not self._stopped:
                self._items.append(item)
                self._changed.notify_all()
                if not self._size:
                    self._changed.wait_for(lambda: self._stopped or not self._items)
            self.blocked += time.perf_counter() - start
            if self._stopped:
                raise StoppedError

    def end(self, error: BaseException | None = None) -> None:
        """Say that no more items come, or why."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def stop(self) -> None:
        """Say that no more items are taken."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Take items until the last one; raises the error that the giving thread ended with."""
        while True:
            start = time.perf_counter()
            with self._changed:
                # With a time limit, so that Ctrl-C is heard.
                while not (self._items or self._ended):
                    self._changed.wait(0.5)
                self.waited += time.perf_counter() - start
                if not self._items:
                    if self._error is not None:
                        raise self._error
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item


def start_thread(
    name: str, work: Callable[[], None], *, after: Callable[[BaseException | None], None]
) -> threading.Thread:
    """Run ``work`` in a thread of its own, and tell ``after`` how it ended: None, or the error."""

    def run() -> None:
        try:
            work()
        except StoppedError:
            after(None)
        except BaseException as error:
            after(error)
        else:
            after(None)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread
