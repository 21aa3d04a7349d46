"""What a worker process answers: arrays, the reason why an image has none, or an error of the whole task."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.pools import Reading

from vision_composer.errors import InputError
from vision_composer.images.reading import Arrays
from vision_composer.jobs.arena import Arena, make_memory
from vision_composer.jobs.inputs import Row
from vision_composer.jobs.worker import work


def read(image: Image.Image) -> Arrays:
    """A pixel of an image; an error for some of them."""
    pixel: Any = image.getpixel((0, 0))
    red, green, _ = pixel
    if green == 1:
        raise InputError("this encoder takes no such image")
    if green == 2:
        raise ZeroDivisionError("a mistake")
    return {"red": np.array([red])}


@dataclass
class Asked:
    """Our end of a worker that runs in a thread."""

    channel: Connection
    arenas: list[Arena]
    thread: threading.Thread

    def answer(self, *paths: Path) -> Any:
        self.channel.send([(Row(path.name, "in", "file", str(path)), None) for path in paths])
        assert self.channel.poll(10)
        return self.channel.recv()


@pytest.fixture
def worker() -> Iterator[Asked]:
    channel, theirs = Pipe()
    memories = make_memory(), make_memory()
    connection = os.dup(theirs.fileno())
    theirs.close()
    thread = threading.Thread(
        target=work, args=(Reading(read), connection, [os.dup(memory) for memory in memories])
    )
    thread.start()
    yield Asked(channel, [Arena(memory) for memory in memories], thread)
    channel.close()
    thread.join(10)
    assert not thread.is_alive()  # it ends with its connection


def images(folder: Path, *colours: tuple[int, int, int]) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(len(colours))]
    for path, colour in zip(paths, colours, strict=True):
        Image.new("RGB", (3, 2), colour).save(path)
    return paths


def test_two_memories_take_turns(worker: Asked, tmp_path: Path) -> None:
    paths = images(tmp_path, *((red, 0, 0) for red in range(6)))
    (tmp_path / "broken.png").write_bytes(b"broken")
    answers = [worker.answer(*paths[:2], tmp_path / "broken.png", *paths[2:4]), worker.answer(*paths[4:])]
    assert "not an image" in answers[0].pop(2)
    found = [
        [arena.get(packed, size)["red"].item() for _, packed, size in answer]
        for arena, answer in zip(worker.arenas, answers, strict=True)
    ]
    assert found == [[0, 1, 2, 3], [4, 5]]  # the first answer was still there behind the second
    assert {size for answer in answers for size, _, _ in answer} == {(3, 2)}
    ((_, packed, size),) = worker.answer(paths[5])
    assert worker.arenas[0].get(packed, size)["red"].item() == 5
    assert packed["red"][-1] == 0  # the first memory was begun anew


def test_errors_that_are_no_images(worker: Asked, tmp_path: Path) -> None:
    sound, refused, mistaken = images(tmp_path, (7, 0, 0), (0, 1, 0), (0, 2, 0))
    known = worker.answer(sound, refused)
    assert isinstance(known, InputError)
    assert str(known) == "this encoder takes no such image"
    unknown = worker.answer(mistaken)
    assert isinstance(unknown, RuntimeError)
    assert "ZeroDivisionError: a mistake" in str(unknown)
    assert 'raise ZeroDivisionError("a mistake")' in str(unknown)  # where it was raised
    assert len(worker.answer(sound)) == 1  # and the worker goes on
