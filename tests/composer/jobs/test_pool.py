"""Preparing ahead: in order, as far as it is asked for, and what one image does takes nothing else down."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from support.jobs import draw
from support.processors import CROPPED, dense, preprocessor, settings

from vision_composer.errors import ImageError, InputError
from vision_composer.jobs.inputs import Row
from vision_composer.jobs.nursery import Nursery
from vision_composer.jobs.pool import Answers, Pool, ThreadedPool
from vision_composer.jobs.preparing import Read, Task
from vision_composer.jobs.processes import ProcessPool

MakePool = Callable[[Read], Pool]
MakeProcesses = Callable[[Read, int], ProcessPool]


class Shared(Nursery):
    """A nursery that has started, for several tests: what takes long is done once."""

    def __init__(self) -> None:
        super().__init__()
        self._answer()

    def is_ready(self) -> bool:
        return True

    def close(self) -> None:
        """Stay."""


@pytest.fixture(scope="module")
def nursery() -> Iterator[Shared]:
    shared = Shared()
    yield shared
    Nursery.close(shared)


@pytest.fixture
def processes(nursery: Shared) -> Iterator[MakeProcesses]:
    with ExitStack() as stack:
        yield lambda read, workers: stack.enter_context(ProcessPool(nursery, read, workers))


@pytest.fixture(params=["threads", "processes"])
def pool(request: pytest.FixtureRequest, processes: MakeProcesses) -> Iterator[MakePool]:
    with ExitStack() as stack:
        if request.param == "processes":
            yield lambda read: processes(read, 2)
        else:
            yield lambda read: stack.enter_context(ThreadedPool(read, 2))


def tasks(paths: list[Path], size: int) -> list[Task]:
    listed: Task = [(Row(str(path), "in", "file", str(path)), None) for path in paths]
    return [listed[i : i + size] for i in range(0, len(listed), size)]


def answers(pool: Pool, asked: list[Task]) -> Answers:
    return [answer for _, some in pool.map(asked) for answer in some]


def test_a_broken_image_takes_nothing_else_down(pool: MakePool, tmp_path: Path) -> None:
    paths = draw(tmp_path, 40)
    for i, path in enumerate(paths):
        Image.new("RGB", (9 + i, 9), (i, i, i)).save(path.with_suffix(".png"))
        if i % 7 == 3:
            path.with_suffix(".png").write_bytes(b"broken")
    paths = [path.with_suffix(".png") for path in paths]
    results = answers(pool(preprocessor(do_normalize=False).read), tasks(paths, 3))
    assert len(results) == 40
    for i, (path, result) in enumerate(zip(paths, results, strict=True)):
        if i % 7 == 3:
            assert isinstance(result, ImageError)
            assert result.name == str(path)
        else:
            assert not isinstance(result, ImageError)
            assert result.size == (9 + i, 9)
            assert (result.inputs["pixel_values"] == i).all()


def test_images_are_taken_as_they_are_needed(pool: MakePool, tmp_path: Path) -> None:
    (path,) = draw(tmp_path, 1)
    asked = 0

    def endless() -> Iterator[Task]:
        nonlocal asked
        for _ in itertools.count():
            asked += 1
            yield tasks([path], 1)[0]

    running = pool(preprocessor().read)
    results = running.map(endless())
    for _ in range(3):
        next(results)
    assert asked < 30
    running.stopping.set()
    assert len(list(results)) < 30


def test_other_errors_are_not_swallowed(pool: MakePool, tmp_path: Path) -> None:
    four = dense(settings("CLIPImageProcessor", **CROPPED), num_channels=4)
    with pytest.raises(InputError, match="4 channels"):
        answers(pool(four.read), tasks(draw(tmp_path, 1), 1))


class Deadly:
    """Preprocesses an image, and dies of a red one."""

    def __call__(self, images: Any) -> list[dict[str, torch.Tensor]]:
        pixel = images[0].getpixel((0, 0))
        if pixel[0] > 200:
            os.kill(os.getpid(), signal.SIGSEGV)
        return [{"pixel_values": torch.tensor([pixel])}]


def test_an_image_that_kills_its_worker_fails_alone(processes: MakeProcesses, tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(30)]
    for i, path in enumerate(paths):
        Image.new("RGB", (4, 4), (255 if i in (4, 5, 17) else i, 0, 0)).save(path)
    results = answers(processes(Deadly(), 2), tasks(paths, 4))
    dead = [i for i, result in enumerate(results) if isinstance(result, ImageError)]
    assert dead == [4, 5, 17]
    assert str(results[4]) == f"{paths[4]}: the process that decoded it died (signal 11)"
    alive = [
        result.inputs["pixel_values"][0, 0].item() for result in results if not isinstance(result, ImageError)
    ]
    assert alive == [i for i in range(30) if i not in dead]


def test_workers_that_are_killed_are_replaced(processes: MakeProcesses, tmp_path: Path) -> None:
    paths = draw(tmp_path, 60)
    pool = processes(preprocessor().read, 2)
    results: Answers = []
    for number, (_, some) in enumerate(pool.map(tasks(paths, 4))):
        results += some
        if number in (0, 5, 6):
            os.kill(pool._workers[number % 2]._process, signal.SIGKILL)
    assert [isinstance(result, ImageError) for result in results] == [False] * 60


class Large:
    """Makes far more of an image than fits into the memory that workers begin with."""

    def __call__(self, images: Any) -> list[dict[str, torch.Tensor]]:
        red = images[0].getpixel((0, 0))[0]
        pixels = torch.full((30 << 20,), red, dtype=torch.int32)
        return [{"pixel_values": pixels, "none": torch.empty(0)}]


def test_large_inputs_make_the_shared_memory_grow(processes: MakeProcesses, tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for i, path in enumerate(paths):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(path)
    for i, result in enumerate(answers(processes(Large(), 1), tasks(paths, 1))):
        assert not isinstance(result, ImageError)
        values = result.inputs["pixel_values"]
        assert (values[0].item(), values[-1].item(), len(values)) == (i, i, 30 << 20)
        assert result.inputs["none"].shape == (0,)


@pytest.mark.slow  # processes that import everything
def test_the_asking_thread_works_until_workers_are_there(
    nursery: Shared, processes: MakeProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nursery, "is_ready", lambda: False)
    assert len(answers(processes(preprocessor().read, 1), tasks(draw(tmp_path, 5), 2))) == 5


@pytest.mark.slow  # processes that import everything
def test_nothing_stays_when_the_job_is_killed(tmp_path: Path) -> None:
    """The nursery and its workers end when their connections do; nobody has to end them."""
    pool = ProcessPool(Shared(), preprocessor().read, 1)
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
