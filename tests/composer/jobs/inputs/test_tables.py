"""Images in Parquet files and in datasets that were saved to disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vision_composer.errors import ImageError, InputError
from vision_composer.jobs.inputs import InputOptions, Row, find_inputs, list_rows, load_row, read_ahead

PAIR = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def rows(path: Path, column: str | None = None) -> list[Row]:
    return list(list_rows(find_inputs([path]), InputOptions(column=column)))


def contents(listed: list[Row]) -> list[Any]:
    """What rows hold; of those that fail the reason."""

    def of(row: Row) -> Any:
        try:
            return load_row(row)
        except ImageError as error:
            return error

    found = [of(row) if content is None else content for row, content in read_ahead(listed)]
    return [content.reason if isinstance(content, ImageError) else content for content in found]


def test_bytes_by_row(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    values = [b"%d" % i for i in range(100)]
    pq.write_table(pa.table({"image": values, "label": range(100)}), path, row_group_size=7)
    listed = rows(path)
    assert [row.id for row in listed] == [f"{path}#{i}" for i in range(100)]
    assert contents(listed) == values
    assert contents(listed[40:45] + listed[60:61] + listed[99:]) == [*values[40:45], values[60], values[99]]
    assert contents(listed[60:64]) == values[60:64]  # 63 is the first of its group


@pytest.mark.parametrize("group", [3_000, 20_000])
def test_many_paths(group: int, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"path": [f"/{i}" for i in range(12_000)]}), path, row_group_size=group)
    listed = rows(path)
    for some in (slice(10), slice(4_000, 9_000), slice(8_191, 8_193), slice(11_999, None)):
        assert contents(listed[some]) == [f"/{i}" for i in range(12_000)][some]


@pytest.mark.parametrize("save", ["parquet", "dataset"])
@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (pa.string(), ["a.png", "/b.png", None], ["{folder}/a.png", "/b.png", "the cell is empty"]),
        (pa.large_binary(), [b"x", None, b""], [b"x", "the cell is empty", b""]),
        (
            PAIR,
            [
                {"bytes": b"x", "path": "y"},
                {"bytes": None, "path": "a.png"},
                {"bytes": None, "path": None},
                None,
            ],
            [b"x", "{folder}/a.png", "the cell is empty", "the cell is empty"],
        ),
    ],
)
def test_columns_of_paths_and_pairs(
    kind: pa.DataType, values: list[Any], expected: list[Any], save: str, tmp_path: Path
) -> None:
    table = pa.table({"image": pa.array(values, kind), "x": pa.array([1] * len(values))})
    path = tmp_path / "t.parquet"
    if save == "parquet":
        pq.write_table(table, path)
    else:
        path = save_dataset(tmp_path / "d", [table])
    folder = path.parent if save == "parquet" else path
    found = [each.format(folder=folder) if isinstance(each, str) else each for each in expected]
    assert contents(rows(path)) == found


def test_a_column_of_the_wrong_type(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"image": [1], "a": ["x"], "s": [{"b": 1}]}), path)
    for column in (None, "s"):
        with pytest.raises(InputError, match=r"column '\w+' is of type .*; images are bytes"):
            rows(path, column)
    with pytest.raises(InputError, match="has no column 'b'"):
        rows(path, "b")


def test_what_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        rows(path)
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), path)
    with pytest.raises(InputError, match="has no rows"):
        rows(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match="no images"):
        rows(path)


def test_a_table_that_changes_after_the_plan(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"image": [b"x"] * 9}), path)
    listed = rows(path)
    pq.write_table(pa.table({"image": [b"x"] * 4}), path)
    assert contents(listed) == [b"x"] * 4 + ["the file has fewer rows than when the job was planned"] * 5
    pq.write_table(pa.table({"other": [b"x"] * 9}), path)
    assert all("cannot be read here: 'Column image does not" in reason for reason in contents(listed))
    path.write_bytes(b"broken")
    assert all(reason.startswith("the Parquet file cannot be read here") for reason in contents(listed))
    path.unlink()
    assert all("no such file" in reason for reason in contents(listed))


def test_a_table_broken_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    values = [bytes([i]) * 500 for i in range(60)]
    pq.write_table(pa.table({"image": values}), path, row_group_size=20, compression="zstd")
    listed = rows(path)
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 60] = bytes(60)
    path.write_bytes(content)
    found = contents(listed)
    assert found[:20] == values[:20]
    assert all("cannot be read here" in reason for reason in found[20:])


def save_dataset(folder: Path, tables: list[pa.Table], **state: Any) -> Path:
    """Write what ``Dataset.save_to_disk`` does."""
    folder.mkdir(parents=True)
    files = []
    for number, table in enumerate(tables):
        name = f"data-{number:05}-of-{len(tables):05}.arrow"
        files.append({"filename": name})
        with pa.ipc.new_stream(folder / name, table.schema) as stream:
            stream.write_table(table, max_chunksize=3)
    (folder / "state.json").write_text(json.dumps({"_data_files": files, **state}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def test_a_saved_dataset(tmp_path: Path) -> None:
    tables = [
        pa.table({"image": [b"%d" % i for i in range(first, last)]}) for first, last in ((0, 8), (8, 10))
    ]
    folder = save_dataset(tmp_path / "d", tables)
    listed = rows(folder)
    assert contents(listed) == [b"%d" % i for i in range(10)]
    assert len({row.id for row in listed}) == 10


def test_splits(tmp_path: Path) -> None:
    for split in ("train", "test"):
        save_dataset(tmp_path / "d" / split, [pa.table({"image": [split.encode()]})])
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert contents(rows(tmp_path / "d")) == [b"train", b"test"]
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": [".."]}')
    with pytest.raises(InputError, match="names a folder outside its own"):
        rows(tmp_path / "d")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"_indices_data_files": [{"filename": "i.arrow"}]}, "flatten_indices"),
        ({"_data_files": 3}, "is not what the library datasets writes"),
        ({"_data_files": []}, "has no rows"),
        ({"_data_files": ["x"]}, "names a file outside its folder, or none"),
        ({"_data_files": [{"filename": "../x.arrow"}]}, "names a file outside its folder, or none"),
        ({"_data_files": [{"filename": "no.arrow"}]}, "not a readable Arrow stream: no such file"),
        ({"_data_files": [{"filename": "state.json"}]}, "not a readable Arrow stream"),
    ],
)
def test_a_folder_that_is_no_saved_dataset(state: dict[str, Any], reason: str, tmp_path: Path) -> None:
    folder = save_dataset(tmp_path / "d", [pa.table({"image": [b"x"]})], **state)
    with pytest.raises(InputError, match=reason):
        rows(folder)
    (folder / "state.json").write_text("[")
    with pytest.raises(InputError, match="cannot be read"):
        rows(folder)
