"""Pools of worker processes for several tests, images for them to prepare, and what prepares them.

Workers import this module anew, so it imports little.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import torch

from vision_composer.jobs.inputs import Row
from vision_composer.jobs.nursery import Nursery
from vision_composer.jobs.pool import Answers, Pool
from vision_composer.jobs.preparing import Read, Task
from vision_composer.jobs.processes import ProcessPool

MakePool: TypeAlias = Callable[[Read], Pool]
MakeProcesses: TypeAlias = Callable[[Read, int], ProcessPool]


class Shared(Nursery):
    """A nursery that has started, for several tests: what takes long is done once."""

    def __init__(self) -> None:
        super().__init__()
        self._answer()

    def is_ready(self) -> bool:
        return True

    def close(self) -> None:
        """Stay."""


def tasks(paths: list[Path], size: int) -> list[Task]:
    """Image files in tasks of ``size``."""
    listed: Task = [(Row(str(path), "in", "file", str(path)), None) for path in paths]
    return [listed[i : i + size] for i in range(0, len(listed), size)]


def answers(pool: Pool, asked: list[Task]) -> Answers:
    """What a pool makes of every image, in order."""
    return [answer for _, some in pool.map(asked) for answer in some]


class Deadly:
    """Preprocesses an image, and dies of a red one."""

    def __call__(self, images: Any) -> list[dict[str, torch.Tensor]]:
        pixel = images[0].getpixel((0, 0))
        if pixel[0] > 200:
            os.kill(os.getpid(), signal.SIGSEGV)
        return [{"pixel_values": torch.tensor([pixel])}]


class Large:
    """Makes far more of an image than fits into the memory that workers begin with."""

    def __call__(self, images: Any) -> list[dict[str, torch.Tensor]]:
        red = images[0].getpixel((0, 0))[0]
        pixels = torch.full((30 << 20,), red, dtype=torch.int32)
        return [{"pixel_values": pixels, "none": torch.empty(0)}]
