"""Images prepared ahead of the forward that takes them: by worker processes, or by threads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from types import TracebackType
from typing import Self, TypeAlias

from ..errors import ImageError
from ..images.reading import Reader
from .preparing import Prepared, Task, prepare

Answers: TypeAlias = "list[Prepared | ImageError]"


class Pool(ABC):
    """Prepares images, in order, a few tasks ahead.

    Attributes:
        stopping: Set it from any thread to have ``map`` end early.
    """

    def __init__(self) -> None:
        self.stopping = Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def map(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Answers]]:
        """Yield each task with its prepared images, in the order of the tasks.

        Raises:
            VisionComposerError: If it cannot go on.
        """

    @abstractmethod
    def close(self) -> None:
        """End the workers."""


class ThreadedPool(Pool):
    """Threads of this process: nothing to start, but they take turns with the forward.

    Args:
        reader: Decodes and resizes images.
        threads: How many.
    """

    def __init__(self, reader: Reader, threads: int) -> None:
        super().__init__()
        self._reader = reader
        self._threads = ThreadPoolExecutor(threads)
        self._ahead = 2 * threads

    def map(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Answers]]:
        pending: deque[tuple[Task, Future[Answers]]] = deque()
        for task in tasks:
            pending.append((task, self._threads.submit(prepare_all, task, self._reader)))
            if len(pending) > self._ahead:
                first, answers = pending.popleft()
                yield first, answers.result()
            if self.stopping.is_set():
                return
        for first, answers in pending:
            yield first, answers.result()

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)


def prepare_all(task: Task, reader: Reader) -> Answers:
    """Prepare the images of a task."""
    return [prepare(row, content, reader) for row, content in task]
