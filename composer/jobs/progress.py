"""How far a job is, how fast it goes, and what holds it up; also for those who watch from elsewhere."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ..files import read_regular

Bound = Literal["decode", "forward", "write"]

_EVERY = 1.0
"""Seconds between two reports to those who watch."""
_STALE = 30.0
_MOST_BYTES = 1 << 16

ADVICE: dict[Bound, str] = {
    "decode": "more --workers, or the extra numba if images are large,",
    "forward": "a larger --batch-size, compile: true, another --device or --shard",
    "write": "--store-dtype float16, --pool, or a faster disk",
}
"""What bounds a job, and the settings that help."""


class Progress(BaseModel):
    """How far a run is.

    Attributes:
        time: When this was so, in seconds since 1970.
        num_done: Images that this run has encoded or failed.
        num_rows: Images that it began with.
        num_failed: Those that failed.
        num_tokens: Tokens of the encoded ones.
        seconds: How long the run has taken.
        waits_for_images: Seconds in which the forward waited for images.
        waits_for_writing: Seconds in which the forward waited for its features to be written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    time: float
    num_done: int = 0
    num_rows: int
    num_failed: int = 0
    num_tokens: int = 0
    seconds: float = 0.0
    waits_for_images: float = 0.0
    waits_for_writing: float = 0.0

    @property
    def images_per_second(self) -> float:
        """Images a second so far."""
        return self.num_done / self.seconds if self.seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Tokens a second so far."""
        return self.num_tokens / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the rest takes at this rate; None if nothing is done yet."""
        if not self.num_done:
            return None
        return (self.num_rows - self.num_done) / self.images_per_second

    @property
    def bound(self) -> Bound:
        """What the forward waits for the longest, or the forward itself if it works longer than that."""
        waits: dict[Bound, float] = {"decode": self.waits_for_images, "write": self.waits_for_writing}
        longest = max(waits, key=waits.__getitem__)
        return longest if waits[longest] > self.seconds - sum(waits.values()) else "forward"

    def line(self) -> str:
        """Return the rates, the time left and what bounds the run, as a person reads them."""
        left = "" if self.seconds_left is None else f", {duration(self.seconds_left)} left"
        return (
            f"{self.images_per_second:,.1f} images/s, {self.tokens_per_second:,.0f} tokens/s{left}; "
            f"bound by {self.bound}: {ADVICE[self.bound]} would help"
        )


def duration(seconds: float) -> str:
    """Return a time as hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Reporter:
    """Writes the progress of a run where others can read it, now and then.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = 0.0

    def __call__(self, progress: Progress) -> None:
        """Write it, unless that was done a moment ago."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _EVERY
        hidden = self._path.with_name(f"{self._path.name}.tmp")
        try:
            hidden.write_text(progress.model_dump_json(), encoding="utf-8")
            hidden.replace(self._path)
        except OSError:  # the job does not fail for that; a full disk will be said by what writes features
            return

    def close(self) -> None:
        """Take the report away: the run has ended."""
        self._path.unlink(missing_ok=True)


def read_reports(root: Path) -> list[Progress]:
    """Return the progress of the runs that work on a job now."""
    reports = []
    for path in sorted(root.glob(".*.progress")):
        try:
            report = Progress.model_validate_json(read_regular(path, limit=_MOST_BYTES))
        except (OSError, ValidationError):
            continue
        if time.time() - report.time < _STALE:
            reports.append(report)
    return reports
