"""Worker processes that prepare images, and what happens when one dies."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import cast

from ..errors import ImageError, VisionComposerError
from ..images.reading import Reader
from .nursery import Nursery
from .pool import Answers, Pool, prepare_all
from .preparing import Prepared, Task

_AHEAD = 2
"""Tasks that a worker has at one time: one that it works on, and one that waits, so that it never does."""


@dataclass
class _Piece:
    """Images of one task that are prepared by one worker; ``first`` is the place of the first one."""

    task: int
    first: int
    images: Task


class _Worker:
    """A worker process and what it was asked for."""

    def __init__(self, nursery: Nursery) -> None:
        from .arena import Arena, make_memory

        self._nursery = nursery
        self.channel, theirs = Pipe()
        memories = make_memory(), make_memory()
        self._arenas = [Arena(memory) for memory in memories]
        self.asked: deque[_Piece] = deque()
        self._answered = 0
        with theirs:
            self._process = nursery.fork(theirs.fileno(), memories)

    def ask(self, piece: _Piece) -> None:
        """Give it images to prepare.

        Raises:
            ConnectionError: If it is dead.
        """
        self.channel.send(piece.images)
        self.asked.append(piece)

    def receive(self) -> tuple[_Piece, Answers]:
        """Take an answer.

        Raises:
            EOFError, ConnectionError: If it is dead.
        """
        message = self.channel.recv()
        if isinstance(message, Exception):
            raise message
        piece, arena = self.asked.popleft(), self._arenas[self._answered % 2]
        self._answered += 1
        answers: Answers = []
        for (row, _), answer in zip(piece.images, message, strict=True):
            if isinstance(answer, str):
                answers.append(ImageError(row.id, answer))
            else:
                size, packed, memory = answer
                answers.append(Prepared(size, arena.get(packed, memory)))
        return piece, answers

    def end(self) -> int:
        """End the process, and return its exit status."""
        status = self._nursery.end(self._process)
        self.close()
        return status

    def close(self) -> None:
        """Let go of it; it ends when it has nobody to answer to."""
        self.channel.close()
        for arena in self._arenas:
            arena.close()


@dataclass
class _Progress:
    """Tasks that were taken and are not yielded yet."""

    taken: int = 0
    yielded: int = 0
    exhausted: bool = False
    tasks: deque[Task] = field(default_factory=deque)
    waiting: deque[_Piece] = field(default_factory=deque)
    answers: dict[int, list[Prepared | ImageError | None]] = field(default_factory=dict)


class ProcessPool(Pool):
    """Worker processes. One that dies, whatever an image did to it, is replaced, and only that image fails.

    Until the processes are there, the thread that asks prepares images itself.

    Args:
        reader: Decodes and resizes images; is pickled.
        workers: How many.
    """

    def __init__(self, reader: Reader, workers: int) -> None:
        super().__init__()
        self._nursery = Nursery(reader)
        self._reader = reader
        self._number = workers
        self._workers: list[_Worker] = []

    def close(self) -> None:
        self._nursery.close()
        for worker in self._workers:
            worker.close()
        self._workers = []

    def map(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Answers]]:
        try:
            yield from self._map(tasks)
        except OSError as error:
            raise VisionComposerError(
                f"worker processes cannot be started: {error}; --workers 0 does without them"
            ) from error

    def _map(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Answers]]:
        state, source = _Progress(), iter(tasks)
        while not self.stopping.is_set() and not self._has_started():
            task = next(source, None)
            if task is None:
                return
            yield task, prepare_all(task, self._reader)
        while not self.stopping.is_set():
            self._hand_out(state, source)
            first = state.answers.get(state.yielded)
            if first is not None and None not in first:
                del state.answers[state.yielded]
                state.yielded += 1
                yield state.tasks.popleft(), cast("Answers", first)
            elif state.exhausted and not state.answers:
                return
            else:
                self._receive(state)

    def _has_started(self) -> bool:
        if not self._workers and self._nursery.is_ready():
            self._workers = [_Worker(self._nursery) for _ in range(self._number)]
        return bool(self._workers)

    def _hand_out(self, state: _Progress, source: Iterator[Task]) -> None:
        """Give work to every worker that has room for it."""
        while True:
            worker = min(self._workers, key=lambda worker: len(worker.asked))
            if len(worker.asked) >= _AHEAD:
                return
            if not state.waiting and len(state.answers) < 2 * _AHEAD * len(self._workers):
                task = None if state.exhausted else next(source, None)
                state.exhausted = task is None
                if task:
                    state.tasks.append(task)
                    state.answers[state.taken] = [None] * len(task)
                    state.waiting.append(_Piece(state.taken, 0, task))
                    state.taken += 1
            if not state.waiting:
                return
            piece = state.waiting.popleft()
            try:
                worker.ask(piece)
            except ConnectionError:  # what it has answered is received before it is replaced
                state.waiting.appendleft(piece)
                return

    def _receive(self, state: _Progress) -> None:
        """Take what workers have answered; wait a little if none has."""
        channels = {worker.channel: worker for worker in self._workers}
        for channel in wait(list(channels), timeout=0.5):
            worker = channels[cast("Connection", channel)]
            try:
                piece, answers = worker.receive()
            except (EOFError, ConnectionError):
                self._replace(worker, state)
            else:
                state.answers[piece.task][piece.first : piece.first + len(answers)] = answers

    def _replace(self, dead: _Worker, state: _Progress) -> None:
        """Put another worker in the place of one that died, and find out which image it died of."""
        status = dead.end()
        self._workers[self._workers.index(dead)] = _Worker(self._nursery)
        suspects = dead.asked.popleft() if dead.asked else None
        state.waiting.extendleft(reversed(dead.asked))
        if suspects is None:
            return
        if len(suspects.images) == 1:
            row = suspects.images[0][0]
            how = f"signal {-status}" if status < 0 else f"exit status {status}"
            reason = f"the process that decoded it died ({how})"
            state.answers[suspects.task][suspects.first] = ImageError(row.id, reason)
            return
        alone = [
            _Piece(suspects.task, suspects.first + i, [image]) for i, image in enumerate(suspects.images)
        ]
        state.waiting.extendleft(reversed(alone))
