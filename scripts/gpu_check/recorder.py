"""What runs each measurement and writes it to the log, however it ends."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .log import append

BROKEN = 75
"""Exit status of a process whose CUDA context can no longer be used."""


class Recorder:
    """Runs the measurements of one section while there is time, and writes each of them to the log.

    Args:
        log: The log.
        section: Its name.
        device: Where to measure.
        deadline: When the section should be done.
        known: Measurements that an earlier process made, or died of.
    """

    def __init__(self, log: Path, section: str, device: str, deadline: float, known: set[str]) -> None:
        self.log, self.section, self.deadline, self.known = log, section, deadline, known
        self.device = torch.device(device)
        self.on_gpu = self.device.type == "cuda"
        self._any = bool(known)

    @property
    def seconds_left(self) -> float:
        return self.deadline - time.time()

    def __call__(self, name: str, measure: Callable[[], Any]) -> None:
        """Run ``measure``, unless there is no time left; the first of a section always runs."""
        if name in self.known:
            return
        if self._any and self.seconds_left <= 0:
            append(self.log, event="end", section=self.section, item=name, ok=False, error="no time left")
            return
        self._any = True
        append(self.log, event="begin", section=self.section, item=name)
        start = time.perf_counter()
        try:
            entry = {"ok": True, "result": measure()}
        except Exception as error:  # whatever goes wrong is a finding
            entry = failure(error)
        entry["seconds"] = time.perf_counter() - start
        append(self.log, event="end", section=self.section, item=name, **entry)
        if self.on_gpu:
            leave_if_broken()


def failure(error: Exception) -> dict[str, Any]:
    """The entry of what raised ``error``."""
    trace = "".join(traceback.format_exception(error))
    return {"ok": False, "error": f"{type(error).__name__}: {error}"[:2000], "traceback": trace[-6000:]}


def leave_if_broken() -> None:
    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except Exception:  # the context is lost: only another process can go on
        sys.exit(BROKEN)
