"""The names of a single file and of its list of failures: taken when both are complete, and never others'."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from support.jobs import encoded

from vision_composer.errors import InputError, VisionComposerError
from vision_composer.jobs import output_file, read_features
from vision_composer.jobs.encoded import Failed
from vision_composer.jobs.single import SingleFile


def write(
    path: Path, rows: list[tuple[str, torch.Tensor]], *, failed: tuple[str, ...] = (), overwrite: bool = False
) -> None:
    single = SingleFile(path, overwrite=overwrite)
    file = single.open({"version": "1"})
    try:
        file.write([encoded(name, features) for name, features in rows])
        single.close(file, [Failed(0, name, "in", "broken") for name in failed])
    finally:
        file.discard()


def rows(count: int, dtype: torch.dtype = torch.float32) -> list[tuple[str, torch.Tensor]]:
    return [(f"{i}.png", torch.randn(1 + i % 3, 5).to(dtype)) for i in range(count)]


def test_names_that_are_not_text(tmp_path: Path) -> None:
    name = b"caf\xe9 \xf0\x9f\x90\x88.png".decode("utf-8", "surrogateescape")
    write(
        tmp_path / "f.parquet", [(name, torch.ones(1, 2)), ("日本\n.png", torch.ones(1, 2))], failed=(name,)
    )
    assert [image for image, _ in read_features(tmp_path / "f.parquet")] == [
        "caf\\udce9 🐈.png",
        "日本\n.png",
    ]
    lines = (tmp_path / "f.failed.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [{"image": "caf\\udce9 🐈.png", "reason": "broken"}]


def test_nothing_but_failures(tmp_path: Path) -> None:
    write(tmp_path / "f.parquet", [], failed=("a", "b"))
    assert list(read_features(tmp_path / "f.parquet")) == []
    assert pq.read_table(tmp_path / "f.parquet").num_rows == 0
    assert len((tmp_path / "f.failed.jsonl").read_text().splitlines()) == 2


def test_the_list_of_an_earlier_run_goes(tmp_path: Path) -> None:
    write(tmp_path / "f.parquet", rows(1), failed=("a",))
    write(tmp_path / "f.parquet", rows(2), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["f.parquet"]
    assert len(list(read_features(tmp_path / "f.parquet"))) == 2


@pytest.mark.parametrize("problem", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_run_leaves_everything_as_it_was(problem: type[BaseException], tmp_path: Path) -> None:
    write(tmp_path / "f.parquet", rows(3), failed=("a",))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def interrupted(path: Path) -> None:
        file = SingleFile(path, overwrite=True).open({})
        try:
            file.write([encoded("x", torch.ones(2, 2))])
            assert not path.exists() or path.read_bytes() == before[path.name]
            raise problem
        finally:
            file.discard()

    for path in (tmp_path / "f.parquet", tmp_path / "new.parquet"):
        with pytest.raises(problem):
            interrupted(path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_folders_are_made(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b" / "f.parquet", rows(1))
    assert (tmp_path / "a" / "b" / "f.parquet").is_file()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(VisionComposerError, match=r"f\.parquet: cannot be written"):
        write(tmp_path / "file" / "f.parquet", rows(1))


def test_output_file(tmp_path: Path) -> None:
    assert output_file(tmp_path / "x.parquet") == tmp_path / "x.parquet"
    assert output_file(tmp_path / "x.d") == tmp_path / "x.d" / "features.parquet"
    assert output_file(str(tmp_path)) == tmp_path / "features.parquet"
    (tmp_path / "features.parquet").touch()
    with pytest.raises(InputError, match=r"features\.parquet: exists"):
        output_file(tmp_path)
    assert output_file(tmp_path, overwrite=True) == tmp_path / "features.parquet"
    (tmp_path / "x.parquet").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        output_file(tmp_path / "x.parquet", overwrite=True)
    assert output_file("~nosuch/x.parquet") == Path("~nosuch/x.parquet")  # as a shell has it


def test_reading_something_else(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    for name, reason in (
        ("text", "not a readable"),
        ("missing", "not a readable"),
        ("other", "not of features"),
    ):
        with pytest.raises(InputError, match=reason):
            list(read_features(tmp_path / f"{name}.parquet"))


def test_what_others_made_is_never_taken(tmp_path: Path) -> None:
    path, failures = tmp_path / "f.parquet", tmp_path / "f.failed.jsonl"
    path.symlink_to("nowhere")
    with pytest.raises(InputError, match=r"f\.parquet: exists; .* --overwrite"):
        output_file(path)
    path.unlink()
    write(path, rows(1), failed=("a",))
    path.unlink()
    with pytest.raises(InputError, match=r"f\.failed\.jsonl: exists; .* --overwrite"):
        output_file(path)
    assert output_file(path, overwrite=True) == path
    for other in ("", "notes\n", '{"image": 1}\n', '["image", "reason"]\n', "[" * 100_000, "5"):
        failures.write_text(other)
        path.unlink(missing_ok=True)
        for overwrite in (False, True):
            with pytest.raises(InputError, match=r"f\.failed\.jsonl: "):
                output_file(path, overwrite=overwrite)
        write(path, rows(1), overwrite=True)
        assert failures.read_text() == other


@pytest.mark.parametrize("taken", ["f.parquet", "f.failed.jsonl"])
@pytest.mark.parametrize("dangling", [False, True])
def test_of_two_jobs_the_later_one_does_not_win(taken: str, dangling: bool, tmp_path: Path) -> None:
    def other_job() -> None:
        if dangling:
            (tmp_path / taken).symlink_to("nowhere")
        else:
            (tmp_path / taken).write_text("of the first")

    def job() -> None:
        single = SingleFile(tmp_path / "f.parquet", overwrite=False)
        file = single.open({})
        try:
            file.write([encoded("x", torch.ones(2, 2))])
            other_job()
            single.close(file, [Failed(1, "y", "in", "broken")])
        finally:
            file.discard()

    with pytest.raises(VisionComposerError, match=rf"{taken}: was made by someone else") as raised:
        job()
    kept = {path.name for path in tmp_path.iterdir()} - {taken}
    assert len(kept) == 2
    assert all(name in str(raised.value) for name in kept)
    if dangling:
        assert (tmp_path / taken).is_symlink()
    else:
        assert (tmp_path / taken).read_text() == "of the first"
    (part,) = (tmp_path / name for name in kept if "parquet" in name)
    assert [name for name, _ in read_features(part)] == ["x"]
