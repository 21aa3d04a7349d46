"""Parts that are whole count once, with their retries; what is not whole, or another job's, does not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.jobs import CONFIG, finish, planned_job

from vision_composer.errors import InputError, VisionComposerError
from vision_composer.jobs.encoded import Failed
from vision_composer.jobs.job_folder import PartTask
from vision_composer.jobs.parts import (
    FailedRow,
    Part,
    failed_row,
    finished_parts,
    iter_files,
    part_files,
    part_name,
    read_record,
    remove_leftovers,
    write_failures,
)
from vision_composer.jobs.plan import Output, hash_of

SINGLE = Output(store_dtype="float32")


def test_files_are_in_the_order_of_the_images(tmp_path: Path) -> None:
    assert part_files(tmp_path / "nowhere") == []
    wanted = [(0, 0), (2, 0), (2, 1), (2, 10), (10, 0), (99_999, 0), (100_000, 0), (100_000, 3)]
    for part, retry in reversed(wanted):
        (tmp_path / part_name(part, retry)).touch()
    for other in (
        ".part-00001.parquet.1-2.tmp",
        "part-1.parquet",
        "part-00001.safetensors",
        "part-00001.parquet~",
    ):
        (tmp_path / other).touch()
    assert [(part, retry) for part, retry, _ in part_files(tmp_path)] == wanted
    assert part_files(tmp_path)[2] == (2, 1, tmp_path / "part-00002-retry-1.parquet")


def test_what_is_not_whole_has_no_record(tmp_path: Path) -> None:
    job = planned_job(tmp_path, 16)
    cut, other, whole, damaged = (finish(job, PartTask(part)) for part in range(4))
    cut.write_bytes(cut.read_bytes()[:500])
    damaged.write_bytes(damaged.read_bytes().replace(b"num_tokens", b"num_token\xe9"))
    pq.write_table(pa.table({"a": [1]}), other)
    assert read_record(tmp_path / "nowhere") is None
    found = [read_record(path) is not None for path in (cut, other, whole, damaged)]
    assert found == [False, False, True, False]
    assert finished_parts(tmp_path, job.plan).keys() == {2}
    assert list(iter_files(tmp_path)) == [whole]


@pytest.mark.parametrize(
    ("name", "count", "changes"),
    [
        ("part-00002.parquet", 12, {"output": SINGLE, "config_hash": hash_of(CONFIG, SINGLE)}),
        ("part-00002.parquet", 13, {}),
        ("part-00001.parquet", 12, {}),
    ],
    ids=["another output", "other inputs", "another number"],
)
def test_a_part_of_another_job_is_refused(
    name: str, count: int, changes: dict[str, Any], tmp_path: Path
) -> None:
    plan = planned_job(tmp_path / "out", 12).plan
    other = finish(planned_job(tmp_path / "other", count, **changes), PartTask(2))
    other.replace(tmp_path / "out" / "features" / name)
    with pytest.raises(InputError, match=rf"{name}: is a part of another job"):
        finished_parts(tmp_path / "out", plan)


def test_a_part_beyond_the_last_is_another_jobs(tmp_path: Path) -> None:
    job = planned_job(tmp_path, 12)
    finish(job, PartTask(2))
    for rows, beyond in ((9, False), (8, True)):
        plan = job.plan.model_copy(update={"num_rows": rows})
        if beyond:
            with pytest.raises(InputError, match=r"part-00002\.parquet: is a part of another job"):
                finished_parts(tmp_path, plan)
        else:
            assert finished_parts(tmp_path, plan).keys() == {2}


def test_retries_count_with_their_part(tmp_path: Path) -> None:
    job = planned_job(tmp_path, 4)
    first = finish(job, PartTask(0), failing=(1, 2))
    second = finish(job, PartTask(0, job.finished()[0]), failing=(2,))
    (part,) = finished_parts(tmp_path, job.plan).values()
    assert (part.files, part.num_images, part.num_tokens) == ((first, second), 3, 6)
    assert [row.row for row in part.failed] == [2]  # what the last one says
    first.unlink()
    assert finished_parts(tmp_path, job.plan) == {}


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    job = planned_job(tmp_path, 4)
    path = finish(job, PartTask(0))
    kept = [tmp_path / ".shard-0-of-1.lock", tmp_path / "mine.tmp", path]
    for left in (tmp_path / ".job.json.7.tmp", path.parent / ".part-00001.parquet.1-1.tmp", *kept[:2]):
        left.touch()
    remove_leftovers(tmp_path)
    assert all(each.exists() for each in kept)
    assert not list(tmp_path.rglob(".*.tmp"))


def failed(*rows: int) -> Part:
    return Part(0, (), 1, 1, tuple(FailedRow(row=row, id=f"{row}", source="in", reason="r") for row in rows))


def test_failures_are_listed_part_by_part(tmp_path: Path) -> None:
    assert write_failures(tmp_path, {2: failed(9), 0: failed(1, 3), 1: failed()}) == 3
    rows = pq.read_table(tmp_path / "failures.parquet").to_pylist()
    assert [row["row"] for row in rows] == [1, 3, 9]
    assert rows[0] == {"row": 1, "id": "1", "source": "in", "reason": "r"}
    assert os.listdir(tmp_path) == ["failures.parquet"]
    assert write_failures(tmp_path, {0: failed()}) == 0
    assert os.listdir(tmp_path) == []
    with pytest.raises(VisionComposerError, match=r"failures\.parquet: cannot be written"):
        write_failures(tmp_path / "nowhere", {0: failed(1)})


def test_a_failure_is_stored_as_text() -> None:
    odd = os.fsdecode(b"caf\xe9")
    row = failed_row(Failed(3, odd, odd, odd))
    assert row.model_dump() == {"row": 3, **dict.fromkeys(("id", "source", "reason"), "caf\\udce9")}
