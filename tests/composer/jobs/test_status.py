"""What a job is doing, from its folder."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.jobs import finish, planned_job

from vision_composer.errors import InputError
from vision_composer.jobs.job_folder import PartTask
from vision_composer.jobs.parts import FailedRow, Part
from vision_composer.jobs.progress import Progress, Reporter
from vision_composer.jobs.status import JobStatus, job_status


def test_finished_parts_and_runs_are_counted(tmp_path: Path) -> None:
    job = planned_job(tmp_path, 12)
    assert job_status(tmp_path) == JobStatus(job.plan, [], [])
    finish(job, PartTask(0), failing=(1, 2))
    finish(job, PartTask(2), failing=(9,))
    run = Progress(time=time.time(), num_rows=4)
    Reporter(tmp_path / ".shard-0-of-1.progress")(run)
    status = job_status(tmp_path)
    assert (status.num_images, status.num_failed) == (5, 3)
    assert [part.number for part in status.parts] == [0, 2]
    assert status.runs == [run]
    assert status.plan == job.plan


def test_the_most_frequent_reason_comes_first(tmp_path: Path) -> None:
    def part(*reasons: str) -> Part:
        failed = (FailedRow(row=1, id="a", source="in", reason=reason) for reason in reasons)
        return Part(0, (), 0, 0, tuple(failed))

    plan = planned_job(tmp_path, 1).plan
    status = JobStatus(plan, [part("empty", "gone"), part(), part("gone", "gone")], [])
    assert status.reasons == [("gone", 3), ("empty", 1)]


def test_a_folder_without_a_job(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not the output of a job"):
        job_status(tmp_path)
