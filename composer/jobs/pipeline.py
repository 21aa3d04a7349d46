"""Images through an encoder into files: preparing, forward and writing at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias

from ..errors import ImageError, InputError
from .batches import Limits, Ready, batches, windows
from .encoded import Encoded, Failed
from .forward import Batch, Forward, failed
from .inputs import Row, read_ahead
from .inputs.videos import CLIP
from .pool import Pool
from .preparing import Prepared, Task
from .stages import Stage, StoppedError, start_thread
from .threads import threads_of
from .unit import Unit
from .writers import FeatureFile

if TYPE_CHECKING:
    from ..vision_encoder import VisionEncoder

_FIRST_TASK, _LARGEST_TASK = 8, 32
"""Images that a worker prepares at a time, while their size is unknown, and at most."""
_TASK_BYTES = 8 * 2**20
"""What the images of a task take together when they are prepared; a message costs little beside it."""
_BATCHES_AHEAD = 2
_WINDOWS_BEHIND = 1


@dataclass(frozen=True)
class _Window:
    """Images of a unit that are batched together, and those among them that cannot be read."""

    unit: Unit
    images: Sequence[Ready]
    failures: Sequence[Failed]
    last: bool


@dataclass(frozen=True)
class _EndOfWindow:
    """After the batches of a window: the images of it that failed before their forward."""

    unit: Unit
    failures: Sequence[Failed]
    last: bool


_Results: TypeAlias = "list[Encoded | Failed]"


@dataclass(frozen=True)
class Waits:
    """Seconds that the forward had to wait, so far.

    Attributes:
        images: For images to be prepared.
        writing: For features to be written.
    """

    images: float
    writing: float


class Pipeline:
    """Runs units.

    Args:
        encoder: The encoder.
        pool: Prepares images.
        forward: Runs batches of the encoder.
        limits: How large a batch may be.
        feature_bytes: Memory that the stored features of a patch take.
    """

    def __init__(
        self,
        encoder: VisionEncoder,
        pool: Pool,
        forward: Forward,
        limits: Limits,
        feature_bytes: int,
    ) -> None:
        self._encoder = encoder
        self._pool = pool
        self._forward = forward
        self._limits = limits
        self._feature_bytes = feature_bytes
        # One window is read while the one before it is fed, and not more, since they take memory.
        self._windows: Stage[_Window] = Stage(0)
        self._feed: Stage[Batch | _EndOfWindow] = Stage(_BATCHES_AHEAD)
        self._out: Stage[tuple[_Results, _EndOfWindow]] = Stage(_WINDOWS_BEHIND)
        self._task_size = _FIRST_TASK
        self._write_error: BaseException | None = None

    @property
    def waits(self) -> Waits:
        """What the forward had to wait for."""
        return Waits(self._feed.waited, self._out.blocked)

    def run(self, units: Iterable[Unit], on_results: Callable[[_Results], None]) -> None:
        """Encode the images of units into their files, one unit after the other; once for each pipeline.

        Args:
            units: Taken as they are needed.
            on_results: Called in this thread with the results of every window, in the order of the images.

        Raises:
            VisionComposerError: If it cannot go on; the file that is being written is discarded.
        """
        self._pool.stopping.clear()
        reader = start_thread("images", lambda: self._read(units), after=self._windows.end)
        feeder = start_thread("batches", self._feed_windows, after=self._fed)
        writer = start_thread("writer", self._write, after=self._written)
        try:
            with self._encoder.evaluating(), threads_of(self._encoder.plan):
                self._encode(on_results)
            self._out.end()
            writer.join()
        except StoppedError:
            pass  # by the writer, whose error is raised below
        except BaseException:
            self._out.end(StoppedError())  # after the results that wait, which may complete a unit
            raise
        finally:
            self._pool.stopping.set()
            self._feed.stop()
            for thread in (feeder, reader, writer):
                thread.join()
        if self._write_error is not None:
            raise self._write_error

    def _encode(self, on_results: Callable[[_Results], None]) -> None:
        results: _Results = []
        for item in self._feed:
            if isinstance(item, Batch):
                results += self._forward.run(item)
                continue
            results += [*self._forward.finish(), *item.failures]
            results.sort(key=lambda result: result.row)
            on_results(results)
            self._out.put((results, item))
            results = []

    def _read(self, units: Iterable[Unit]) -> None:
        """Gather windows of images that are ready, in a thread of its own."""
        asked: deque[tuple[Unit, list[int]]] = deque()
        answers = self._pool.map(self._tasks(units, asked))
        images = (
            (unit, number, row, answer)
            for task, answered in answers
            for unit, numbers in (asked.popleft(),)
            for number, (row, _), answer in zip(numbers, task, answered, strict=True)
        )
        for _, group in groupby(images, key=lambda image: image[0].number):
            self._read_unit(group)

    def _tasks(self, units: Iterable[Unit], asked: deque[tuple[Unit, list[int]]]) -> Iterator[Task]:
        """Yield the images of units in tasks, and note to which unit and numbers each belongs."""
        for unit in units:
            numbers: list[int] = []
            task: Task = []
            contents = read_ahead(row for _, row in unit.images)
            last = len(unit.images) - 1
            for i, ((number, row), content) in enumerate(zip(unit.images, contents, strict=True)):
                numbers.append(number)
                task.append(content)
                # A clip is as large as many images, so there is not more than one in a task.
                if len(task) >= self._task_size or row.kind == CLIP or i == last:
                    asked.append((unit, numbers))
                    yield task
                    numbers, task = [], []

    def _read_unit(self, images: Iterator[tuple[Unit, int, Row, Prepared | ImageError]]) -> None:
        failures: list[Failed] = []
        unit: list[Unit] = []

        def ready() -> Iterator[Ready]:
            for own, number, row, answer in images:
                unit[:] = [own]
                try:
                    yield self._ready(number, row, answer)
                except ImageError as error:
                    failures.append(Failed(number, row.id, row.source, error.reason))

        for window in windows(ready(), self._limits):
            self._windows.put(_Window(unit[0], window, tuple(failures), last=False))
            failures.clear()
        if not self._pool.stopping.is_set():  # or images are missing
            self._windows.put(_Window(unit[0], (), tuple(failures), last=True))

    def _feed_windows(self) -> None:
        """Feed the batches of windows, in a thread of its own."""
        for window in self._windows:
            failures = list(window.failures)
            for some in batches(window.images, self._limits, self._encoder.preprocessor.share):
                failures += self._feed_batch(some)
            self._feed.put(_EndOfWindow(window.unit, tuple(failures), window.last))

    def _fed(self, error: BaseException | None) -> None:
        self._windows.stop()
        self._feed.end(error)

    def _feed_batch(self, images: Sequence[Ready]) -> list[Failed]:
        """Feed images in one batch; if they make none, each by itself. Returns those that fail."""
        try:
            self._feed.put(self._forward.load(images))
        except InputError as error:
            if len(images) == 1:
                return [failed(images[0], str(error))]
            return [failure for image in images for failure in self._feed_batch([image])]
        return []

    def _ready(self, number: int, row: Row, answer: Prepared | ImageError) -> Ready:
        if isinstance(answer, ImageError):
            raise answer
        inputs = answer.inputs
        values = self._encoder.preprocessor.num_values(inputs)
        patches = max(1, values // self._encoder.plan.values_per_patch)
        read = sum(array.nbytes for array in inputs.values())
        self._task_size = max(1, min(_TASK_BYTES // max(read, 1), _LARGEST_TASK))
        return Ready(number, row, answer.size, inputs, patches, read + patches * self._feature_bytes)

    def _write(self) -> None:
        """Write results, in a thread of its own."""
        file: FeatureFile | None = None
        failures: list[Failed] = []
        try:
            for results, window in self._out:
                if file is None:
                    file = window.unit.open()
                file.write([result for result in results if isinstance(result, Encoded)])
                failures += [result for result in results if isinstance(result, Failed)]
                if window.last:
                    window.unit.close(file, failures)
                    file, failures = None, []
        finally:
            if file is not None:
                file.discard()

    def _written(self, error: BaseException | None) -> None:
        self._write_error = error
        self._out.stop()
