"""The folder of a job: never another's, one process for each share, and every part whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.jobs import finish, planned_job, values, wanted

from vision_composer.errors import InputError, VisionComposerError
from vision_composer.jobs.job_folder import PartTask, kept_parts, locked, make_folder, open_file
from vision_composer.jobs.plan import Output
from vision_composer.jobs.tensor_files import SafetensorsFile, VllmFile
from vision_composer.jobs.writers import BinaryFile, ListFile


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"a folder of other files, such as thesis\.tex"):
            make_folder(tmp_path / "out", overwrite=overwrite)
    assert names(tmp_path / "out") == ["thesis.tex"]


def test_features_without_a_plan_are_left_alone(tmp_path: Path) -> None:
    finish(planned_job(tmp_path, 4), PartTask(0))
    (tmp_path / "job.json").unlink()
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"other files, such as features/part-00000\.parquet"):
            make_folder(tmp_path, overwrite=overwrite)
    assert names(tmp_path / "features") == ["part-00000.parquet"]


def test_a_folder_that_may_be_used(tmp_path: Path) -> None:
    make_folder(tmp_path / "new" / "out")
    assert names(tmp_path / "new" / "out") == ["features"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".hidden").touch()
    make_folder(tmp_path / "out")
    planned_job(tmp_path / "out", 2)
    (tmp_path / "out" / "notes.txt").touch()  # beside a job that is planned
    make_folder(tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(VisionComposerError, match="file: cannot be written: "):
        make_folder(tmp_path / "file")


def test_what_a_job_wrote_is_overwritten_and_nothing_else(tmp_path: Path) -> None:
    job = planned_job(tmp_path, 4)
    finish(job, PartTask(0), failing=(1,))
    (tmp_path / "failures.parquet").touch()
    (tmp_path / "features" / "part-00000.safetensors").touch()
    (tmp_path / "features" / "mine.txt").touch()
    make_folder(tmp_path)
    assert names(tmp_path) == ["failures.parquet", "features", "job.json", "rows.parquet"]
    make_folder(tmp_path, overwrite=True)
    assert names(tmp_path) == ["features"]
    assert names(tmp_path / "features") == ["mine.txt"]


def test_a_job_that_somebody_works_on_is_not_overwritten(tmp_path: Path) -> None:
    finish(planned_job(tmp_path, 8), PartTask(0))
    with (
        locked(tmp_path, "shard-1-of-2"),
        pytest.raises(InputError, match=r"another process works on this job \(shard-1-of-2\)"),
    ):
        make_folder(tmp_path, overwrite=True)
    assert names(tmp_path) == ["features", "job.json", "rows.parquet"]
    assert names(tmp_path / "features") == ["part-00000.parquet"]


def test_a_job_that_is_half_removed_is_still_that_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = planned_job(tmp_path, 8)
    for part in (0, 1):
        finish(job, PartTask(part))
    unlink = Path.unlink

    def killed(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            make_folder(tmp_path, overwrite=True)
    assert len(job.finished()) == 1
    with pytest.raises(InputError, match="other weights"):  # or else its parts would be kept for them
        planned_job(tmp_path, 8, weights_hash="v")


def test_a_share_is_one_process_alone(tmp_path: Path) -> None:
    with locked(tmp_path, "shard-0-of-2"):
        with locked(tmp_path, "shard-1-of-2"):
            pass
        with (
            pytest.raises(InputError, match=r"another process works on this job \(shard-0-of-2\)"),
            locked(tmp_path, "shard-0-of-2"),
        ):
            pass
    with pytest.raises(ZeroDivisionError), locked(tmp_path, "shard-0-of-2"):
        raise ZeroDivisionError
    with locked(tmp_path, "shard-0-of-2"):  # however the one before ended
        pass
    with (
        pytest.raises(VisionComposerError, match="gone: cannot be written: "),
        locked(tmp_path / "gone", "s"),
    ):
        pass


def test_how_many_parts_are_kept(tmp_path: Path) -> None:
    assert kept_parts(tmp_path) == "the job was not planned yet, and nothing is kept"
    job = planned_job(tmp_path, 10)
    finish(job, PartTask(0))
    finish(job, PartTask(2))
    assert kept_parts(tmp_path) == "2 of 3 parts are complete and kept"


def test_a_part_has_its_images_by_their_numbers_in_the_job(tmp_path: Path) -> None:
    job = planned_job(tmp_path, 10)
    for part, numbers in ((0, range(4)), (2, range(8, 10))):
        unit = job.unit_of(PartTask(part))
        assert unit.number == part
        assert [(number, row.id) for number, row in unit.images] == [(n, f"{n}.png") for n in numbers]
    path = finish(job, PartTask(2), failing=(9,))
    assert path == tmp_path / "features" / "part-00002.parquet"
    part = job.finished()[2]
    assert (part.num_images, part.num_tokens, part.files) == (1, 2, (path,))
    assert [(row.row, row.id, row.reason) for row in part.failed] == [(9, "9.png", "broken")]


def test_a_file_that_is_not_closed_is_no_part(tmp_path: Path) -> None:
    job = planned_job(tmp_path, 4)
    file = job.unit_of(PartTask(0)).open()
    assert job.finished() == {}
    file.discard()
    assert names(tmp_path / "features") == []


def test_retries_do_what_failed_and_go_with_a_new_run_of_the_part(tmp_path: Path) -> None:
    job = planned_job(tmp_path, 8)
    finish(job, PartTask(0), failing=(1, 3))
    finish(job, PartTask(1), failing=(5,))
    for retry, tried, failing in ((1, [1, 3], (3,)), (2, [3], ())):
        task = PartTask(0, job.finished()[0])
        assert [number for number, _ in job.unit_of(task).images] == tried
        assert finish(job, task, failing=failing).name == f"part-00000-retry-{retry}.parquet"
    assert job.finished()[0].failed == ()
    assert finish(job, PartTask(1, job.finished()[1])).name == "part-00001-retry-1.parquet"
    assert sorted(values(tmp_path)) == [f"{number}.png" for number in range(8)]
    (tmp_path / "features" / "part-00000-retry-1.safetensors").touch()
    finish(job, PartTask(0))
    assert names(tmp_path / "features") == [
        "part-00000.parquet",
        "part-00001-retry-1.parquet",
        "part-00001.parquet",
    ]


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        (Output(store_dtype="float16"), BinaryFile),
        (Output(store_dtype="float16", format="parquet-list"), ListFile),
        (Output(store_dtype="float16", format="safetensors"), SafetensorsFile),
        (Output(store_dtype="float16", format="vllm-embeds", grids=True), VllmFile),
    ],
    ids=lambda value: value.format if isinstance(value, Output) else "",
)
def test_a_file_is_of_the_format_that_was_planned(output: Output, kind: Any, tmp_path: Path) -> None:
    file = open_file(tmp_path / "f.parquet", wanted(output=output), 1)
    assert type(file) is kind
    file.finish()
    file.publish()
    metadata = pq.read_schema(tmp_path / "f.parquet").metadata[b"vision_composer"].decode()
    assert f'"format": "{output.format}"' in metadata
    assert '"config": {"schema": 1}' in metadata
