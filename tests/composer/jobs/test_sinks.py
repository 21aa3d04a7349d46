from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from vision_composer.errors import ImageError, InputError, VisionComposerError
from vision_composer.jobs import sinks
from vision_composer.jobs.sinks import FeatureWriter, output_file, read_features


def write(
    path: Path,
    rows: list[tuple[str, torch.Tensor]],
    *,
    half: bool = False,
    failed: tuple[str, ...] = (),
    overwrite: bool = False,
) -> None:
    metadata = {"version": "1", "dtype": "x"}
    with FeatureWriter(path, half=half, metadata=metadata, overwrite=overwrite) as writer:
        for name, features in rows:
            writer.write(name, features)
        for name in failed:
            writer.fail(ImageError(name, "broken"))


def rows(count: int, dtype: torch.dtype = torch.float32) -> list[tuple[str, torch.Tensor]]:
    return [(f"{i}.png", torch.randn(1 + i % 3, 5).to(dtype)) for i in range(count)]


def test_layout(tmp_path: Path) -> None:
    written = rows(7)
    write(tmp_path / "f.parquet", written)
    table = pq.read_table(tmp_path / "f.parquet")
    assert table.schema.names == ["image", "num_tokens", "width", "features"]
    assert table.schema.types == [pa.string(), pa.int32(), pa.int32(), table.schema.field("features").type]
    assert pa.types.is_list(table.schema.field("features").type)
    assert table.schema.field("features").type.value_type == pa.float32()
    assert json.loads(table.schema.metadata[b"vision_composer"]) == {"version": "1", "dtype": "x"}
    for row, (name, features) in zip(table.to_pylist(), written, strict=True):
        assert (row["image"], row["num_tokens"], row["width"]) == (name, len(features), 5)
        assert row["features"] == features.flatten().tolist()


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [(torch.float32, np.float32), (torch.float16, np.float16), (torch.bfloat16, np.float32)],
)
def test_every_dtype_comes_back_exactly(dtype: torch.dtype, stored: Any, tmp_path: Path) -> None:
    written = [
        *rows(5, dtype),
        ("odd", torch.tensor([[float("nan"), float("inf"), -0.0, 6e-8, 65504.0]]).to(dtype)),
    ]
    write(tmp_path / "f.parquet", written, half=dtype == torch.float16)
    back = list(read_features(tmp_path / "f.parquet"))
    assert [name for name, _ in back] == [name for name, _ in written]
    for (_, values), (_, features) in zip(back, written, strict=True):
        assert values.dtype == stored
        np.testing.assert_array_equal(values, features.float().numpy().astype(stored))
        values[0, 0] = 1  # the reader's own memory


def test_a_transposed_row(tmp_path: Path) -> None:
    features = torch.arange(6.0).reshape(3, 2).T
    write(tmp_path / "f.parquet", [("a", features)])
    np.testing.assert_array_equal(next(read_features(tmp_path / "f.parquet"))[1], features.numpy())


def test_row_groups_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "ROW_GROUP_BYTES", 1000)
    written = [(f"{i}", torch.full((10, 5), float(i))) for i in range(23)]  # 200 bytes each
    write(tmp_path / "f.parquet", written)
    file = pq.ParquetFile(tmp_path / "f.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [5, 5, 5, 5, 3]
    assert [values[0, 0] for _, values in read_features(tmp_path / "f.parquet")] == list(range(23))


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
        with FeatureWriter(path, half=False, metadata={}) as writer:
            writer.write("x", torch.ones(2, 2))
            writer.fail(ImageError("y", "broken"))
            assert not path.exists() or path.read_bytes() == before[path.name]
            raise problem

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


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_batch", full)
    with pytest.raises(VisionComposerError, match="No space left on device"):
        write(tmp_path / "f.parquet", rows(1))
    assert list(tmp_path.iterdir()) == []


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
        with FeatureWriter(tmp_path / "f.parquet", half=False, metadata={}) as writer:
            writer.write("x", torch.ones(2, 2))
            writer.fail(ImageError("y", "broken"))
            other_job()

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
