"""Preparing ahead, by threads and by processes: in order, and as far as it is asked for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image
from support.jobs import draw
from support.pools import MakePool, MakeProcesses, Reading, answers, tasks
from support.processors import preprocessor

from vision_composer.errors import ImageError, InputError
from vision_composer.images.reading import Arrays
from vision_composer.jobs.pool import ThreadedPool
from vision_composer.jobs.preparing import Task


@pytest.fixture(params=["threads", "processes"])
def pool(request: pytest.FixtureRequest, processes: MakeProcesses) -> Iterator[MakePool]:
    with ExitStack() as stack:
        if request.param == "processes":
            yield lambda reader: processes(reader, 2)
        else:
            yield lambda reader: stack.enter_context(ThreadedPool(reader, 2))


def test_a_broken_image_takes_nothing_else_down(pool: MakePool, tmp_path: Path) -> None:
    paths = draw(tmp_path, 40)
    for i, path in enumerate(paths):
        Image.new("RGB", (9 + i, 9), (i, i, i)).save(path.with_suffix(".png"))
        if i % 7 == 3:
            path.with_suffix(".png").write_bytes(b"broken")
    paths = [path.with_suffix(".png") for path in paths]
    results = answers(pool(preprocessor(do_normalize=False).reader), tasks(paths, 3))
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

    running = pool(preprocessor().reader)
    results = running.map(endless())
    for _ in range(3):
        next(results)
    assert asked < 30
    running.stopping.set()
    assert len(list(results)) < 30


def refuse(image: Image.Image) -> Arrays:
    raise InputError("this encoder takes no such image")


def test_other_errors_are_not_swallowed(pool: MakePool, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such image"):
        answers(pool(Reading(refuse)), tasks(draw(tmp_path, 1), 1))
