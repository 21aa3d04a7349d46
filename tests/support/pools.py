"""Pools of worker processes for several tests, images for them to prepare, and what prepares them.

Workers import this module anew, so it imports little.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from vision_composer.images.reading import Arrays, Reader
from vision_composer.jobs.inputs import Row
from vision_composer.jobs.pool import Answers, Pool
from vision_composer.jobs.preparing import Task
from vision_composer.jobs.processes import ProcessPool

MakePool: TypeAlias = Callable[[Reader], Pool]
MakeProcesses: TypeAlias = Callable[[Reader, int], ProcessPool]


def started(reader: Reader, workers: int) -> ProcessPool:
    """A pool whose workers are there from the start: this process prepares no image itself."""
    pool = ProcessPool(reader, workers)
    while not pool._has_started():
        time.sleep(0.02)
    return pool


def tasks(paths: list[Path], size: int) -> list[Task]:
    """Image files in tasks of ``size``."""
    listed: Task = [(Row(str(path), "in", "file", str(path)), None) for path in paths]
    return [listed[i : i + size] for i in range(0, len(listed), size)]


def answers(pool: Pool, asked: list[Task]) -> Answers:
    """What a pool makes of every image, in order."""
    return [answer for _, some in pool.map(asked) for answer in some]


class Reading(Reader):
    """Reads images by a function."""

    def __init__(self, read: Callable[[Image.Image], Arrays]) -> None:
        self._read_image = read

    def opened(self, image: Image.Image, label: str) -> Arrays:
        return self._read_image(image)

    def check_channels(self) -> None:
        """Take all."""


def dies_of_red(image: Image.Image) -> Arrays:
    """A pixel of an image; the process dies of a red one."""
    pixel: Any = image.getpixel((0, 0))
    if pixel[0] > 200:
        os.kill(os.getpid(), signal.SIGSEGV)
    return {"pixel_values": np.array([pixel])}


def too_large(image: Image.Image) -> Arrays:
    """Far more than fits into the memory that workers begin with."""
    pixel: Any = image.getpixel((0, 0))
    return {"pixel_values": np.full(30 << 20, pixel[0], np.int32), "none": np.empty(0)}


class Loaded(Reading):
    """Reads images with a reader, and says which large libraries are there afterwards."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def opened(self, image: Image.Image, label: str) -> Arrays:
        read = self._reader.opened(image, label)
        loaded = [name for name in ("torch", "transformers", "pyarrow") if name in sys.modules]
        return {**read, "loaded": np.array(loaded)}
