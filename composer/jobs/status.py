"""What a job is doing, seen from its folder alone, from any process. Loads no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .parts import Part, finished_parts
from .plan import JobPlan, read_plan
from .progress import Progress, read_reports


@dataclass(frozen=True)
class JobStatus:
    """How far a job is.

    Attributes:
        plan: Its plan.
        parts: Its finished parts.
        runs: The runs that work on it now.
    """

    plan: JobPlan
    parts: Sequence[Part]
    runs: Sequence[Progress]

    @property
    def num_images(self) -> int:
        """Images that are encoded, in finished parts."""
        return sum(part.num_images for part in self.parts)

    @property
    def num_failed(self) -> int:
        """Images of finished parts that failed."""
        return sum(len(part.failed) for part in self.parts)

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """Why images failed, the most frequent reason first, and how often."""
        return Counter(failed.reason for part in self.parts for failed in part.failed).most_common()


def job_status(root: Path) -> JobStatus:
    """Look at a job.

    Raises:
        InputError: If the folder holds none, or a part of another one.
    """
    plan = read_plan(root)
    return JobStatus(plan, list(finished_parts(root, plan).values()), read_reports(root))
