"""Features come back from a job, one of its files, or a file of version 0.1.0; others are errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.jobs import SMALL, draw, finish, planned_job, values

from vision_composer import compose
from vision_composer.errors import InputError
from vision_composer.jobs import encode_dataset, read_features
from vision_composer.jobs.job_folder import PartTask


def test_an_unfinished_job_and_one_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = planned_job(tmp_path / "out", 12)
    path, _ = (finish(job, PartTask(part), failing=(1,)) for part in (0, 2))
    found = values(tmp_path / "out")
    assert list(found) == [f"{number}.png" for number in (0, 2, 3, 8, 9, 10, 11)]
    for name, features in found.items():
        np.testing.assert_array_equal(features, np.full((2, 3), int(name[:-4]), np.float16))
    assert list(values(path)) == ["0.png", "2.png", "3.png"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert values(Path("~/out")).keys() == found.keys()


def test_what_is_neither(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"features": [1]}), path)
    with pytest.raises(InputError, match=r"f\.parquet: a Parquet file, but not of features"):
        list(read_features(path))
    metadata = {b"vision_composer": b"{}"}
    for columns in ({"a": [1]}, {"features": [b"x"]}, {"features": [1], "id": ["a"]}):
        pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)
        with pytest.raises(InputError, match=r"f\.parquet: not a readable Parquet file of features"):
            list(read_features(path))
    path.write_bytes(b"PAR1")
    with pytest.raises(InputError, match="not a readable Parquet file of features"):
        list(read_features(path))
    with pytest.raises(InputError, match="not the output of a job"):
        list(read_features(tmp_path))


def test_a_file_of_version_0_1_0(tmp_path: Path) -> None:
    schema = pa.schema(
        [
            ("image", pa.string()),
            ("num_tokens", pa.int32()),
            ("width", pa.int32()),
            ("features", pa.list_(pa.float16())),
        ],
        metadata={b"vision_composer": b"{}"},
    )
    values = np.arange(6, dtype=np.float16)
    table = pa.table([["a.png"], [2], [3], [values]], schema=schema)
    pq.write_table(table, tmp_path / "f.parquet")
    ((name, features),) = read_features(tmp_path / "f.parquet")
    assert name == "a.png"
    np.testing.assert_array_equal(features, values.reshape(2, 3))


def test_tensors_that_are_gone(tmp_path: Path) -> None:
    draw(tmp_path / "photos", 2)
    encode_dataset(compose(SMALL), [tmp_path / "photos"], tmp_path / "out", format="safetensors")
    (tensors,) = (tmp_path / "out").rglob("*.safetensors")
    tensors.write_bytes(tensors.read_bytes()[:500])
    with pytest.raises(InputError, match=r"part-00000\.safetensors: cannot be read"):
        list(read_features(tmp_path / "out"))
    tensors.unlink()
    with pytest.raises(InputError, match="not a readable"):
        list(read_features(tmp_path / "out"))
