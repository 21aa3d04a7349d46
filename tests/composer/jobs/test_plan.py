"""The plan of a job: the same for the same inputs, read back as it was written, and nothing else is read."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from support.jobs import wanted

from vision_composer.errors import InputError
from vision_composer.jobs.inputs import InputOptions, Row, find_inputs, list_rows
from vision_composer.jobs.plan import Output, read_plan, rows_of_part, settle_plan

ODD = b"caf\xe9\n\xf0\x9f\x90\x88".decode("utf-8", "surrogateescape")


def rows(count: int) -> list[Row]:
    return [Row(f"{i}{ODD}", ODD, "tar", f"/{ODD}", (i, 2**40), "c", "p" * (i % 2)) for i in range(count)]


def test_parts(tmp_path: Path) -> None:
    plan = settle_plan(tmp_path, iter(rows(10)), wanted())
    assert (plan.num_rows, plan.num_parts, [plan.size_of(part) for part in range(3)]) == (10, 3, [4, 4, 2])
    assert [row for part in range(3) for row in rows_of_part(tmp_path, plan, part)] == rows(10)
    assert read_plan(tmp_path) == plan
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.json", "rows.parquet"]


def test_the_same_job_is_the_same_plan(tmp_path: Path) -> None:
    first = settle_plan(tmp_path, iter(rows(10)), wanted())
    before = (tmp_path / "job.json").read_bytes()
    assert settle_plan(tmp_path, iter(rows(10)), wanted(inputs=["./in"])) == first
    assert (tmp_path / "job.json").read_bytes() == before


def test_no_more_than_a_part_is_in_memory(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("".join(f"{i:0100}.jpg\n" for i in range(50_000)))
    peaks = []
    for folder in ("imports", "planned", "planned"):  # the last time compared with the plan
        (tmp_path / folder).mkdir(exist_ok=True)
        tracemalloc.start()
        try:
            listed = list_rows(find_inputs([tmp_path / "list.txt"]), InputOptions())
            settle_plan(tmp_path / folder, listed, wanted(part_size=1_000))
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert max(peaks[1:]) < 12e6  # 8 MiB to read the plan; all rows together would be twice as much


@pytest.mark.parametrize(
    ("changes", "count", "reason"),
    [
        ({"config": {"schema": 2}}, 10, "another config of the encoder"),
        ({"config_hash": "x"}, 10, "another config of the encoder"),
        (
            {"output": Output(store_dtype="float32")},
            10,
            r"another output \(format parquet, store_dtype float16",
        ),
        ({"output": Output(store_dtype="float16", pool="mean")}, 10, "another output"),
        ({"weights_hash": "v"}, 10, "other weights"),
        ({}, 9, "other inputs: 10 images, not 9"),
        ({"part_size": 5}, 10, "parts of 4 images"),
    ],
)
def test_another_job_does_not_mix(changes: dict[str, Any], count: int, reason: str, tmp_path: Path) -> None:
    settle_plan(tmp_path, iter(rows(10)), wanted())
    with pytest.raises(InputError, match=reason):
        settle_plan(tmp_path, iter(rows(count)), wanted(**changes))


@pytest.mark.parametrize("change", [{"id": "x"}, {"path": "/x"}, {"where": (3, 2**40 + 1)}, {"column": "d"}])
def test_another_image_does_not_mix(change: dict[str, Any], tmp_path: Path) -> None:
    listed = rows(4)
    settle_plan(tmp_path, iter(listed), wanted())
    with pytest.raises(InputError, match="other inputs: as many images, but of other names"):
        settle_plan(tmp_path, iter([*listed[:3], listed[3]._replace(**change)]), wanted())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "not a plan"),
        ("[]", "not a plan"),
        ('{"schema_version": 2}', "not a plan that this version reads: schema_version"),
        ({"num_rows": "10"}, "num_rows"),
        ({"num_rows": 0}, "num_rows"),
        ({"part_size": 0}, "part_size"),
        ({"output": {"format": "pickle", "store_dtype": "float16"}}, "output.format"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_plan_is_checked_when_it_is_read(content: Any, reason: str, tmp_path: Path) -> None:
    settle_plan(tmp_path, iter(rows(2)), wanted())
    path = tmp_path / "job.json"
    if isinstance(content, dict):
        content = json.dumps({**json.loads(path.read_text()), **content})
    path.write_text(content)
    with pytest.raises(InputError, match=reason):
        read_plan(tmp_path)


def test_a_folder_without_a_plan(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not the output of a job: job\.json: no such file"):
        read_plan(tmp_path)


def test_a_list_of_images_that_is_gone_or_another_jobs(tmp_path: Path) -> None:
    plan = settle_plan(tmp_path, iter(rows(10)), wanted())
    for broken in (b"", None):
        if broken is None:
            (tmp_path / "rows.parquet").unlink()
        else:
            (tmp_path / "rows.parquet").write_bytes(broken)
        with pytest.raises(InputError, match="the job's list of images cannot be read"):
            rows_of_part(tmp_path, plan, 0)
    (tmp_path / "job.json").unlink()
    settle_plan(tmp_path, iter(rows(3)), wanted())
    with pytest.raises(InputError, match="is not the list of images of this job"):
        rows_of_part(tmp_path, plan, 0)


@pytest.mark.parametrize(("same", "reason"), [(True, ""), (False, "other inputs: 10 images, not 9")])
def test_two_runs_that_plan_at_once(same: bool, reason: str, tmp_path: Path) -> None:
    """In one process here: on two machines, processes can have one number as well."""

    def interrupted() -> Iterator[Row]:
        for i, row in enumerate(rows(10 if same else 9)):
            if i == 6:
                settle_plan(tmp_path, iter(rows(10)), wanted())
            yield row

    if same:
        settle_plan(tmp_path, interrupted(), wanted())
    else:
        with pytest.raises(InputError, match=reason):
            settle_plan(tmp_path, interrupted(), wanted())
    plan = read_plan(tmp_path)
    assert [row for part in range(3) for row in rows_of_part(tmp_path, plan, part)] == rows(10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.json", "rows.parquet"]


def test_two_jobs_that_are_planned_at_once(tmp_path: Path) -> None:
    def interrupted() -> Iterator[Row]:
        settle_plan(tmp_path, iter(rows(4)), wanted())
        yield from rows(4)

    with pytest.raises(InputError, match="other weights"):
        settle_plan(tmp_path, interrupted(), wanted(weights_hash="v"))


def test_the_list_of_another_job_of_as_many_images(tmp_path: Path) -> None:
    plan = settle_plan(tmp_path, iter(rows(4)), wanted())
    (tmp_path / "job.json").unlink()
    settle_plan(tmp_path, iter(reversed(rows(4))), wanted())
    with pytest.raises(InputError, match="is not the list of images of this job"):
        rows_of_part(tmp_path, plan, 0)


@pytest.mark.slow  # a million images
def test_parts_larger_than_a_row_group_of_pyarrow(tmp_path: Path) -> None:
    count = 2**20 + 1  # of which pyarrow makes two unless told otherwise
    plan = settle_plan(tmp_path, repeat(rows(1)[0], count + 1), wanted(part_size=count))
    assert len(rows_of_part(tmp_path, plan, 1)) == 1


def test_a_plan_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    settle_plan(tmp_path, iter(rows(4)), wanted())
    assert synced == [(tmp_path / name).stat().st_ino for name in ("rows.parquet", "job.json")]
