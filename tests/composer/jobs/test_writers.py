"""Files of features: every number comes back, and nothing half written is left."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from support.jobs import encoded

from vision_composer.errors import VisionComposerError
from vision_composer.jobs import read_features, writers
from vision_composer.jobs.tensor_files import SafetensorsFile
from vision_composer.jobs.writers import BinaryFile, FeatureFile, ListFile


def store(file: FeatureFile, rows: list[tuple[str, torch.Tensor]]) -> None:
    try:
        for number, (name, features) in enumerate(rows):
            file.write([encoded(name, features, row=number)])
        file.finish()
        file.publish()
    finally:
        file.discard()


def rows(count: int, dtype: torch.dtype = torch.float32) -> list[tuple[str, torch.Tensor]]:
    return [(f"{i}.png", torch.randn(1 + i % 3, 5).to(dtype)) for i in range(count)]


def test_layout(tmp_path: Path) -> None:
    written = rows(7, torch.float16)
    store(BinaryFile(tmp_path / "f.parquet", {"version": "1"}), written)
    table = pq.read_table(tmp_path / "f.parquet")
    assert json.loads(table.schema.metadata[b"vision_composer"]) == {"version": "1"}
    assert table.schema.field("features").type == pa.binary()
    for number, (row, (name, features)) in enumerate(zip(table.to_pylist(), written, strict=True)):
        assert row.pop("features") == features.numpy().tobytes()
        assert row == {
            "row": number,
            "id": name,
            "source": "in",
            "size": [5, 4],
            "grid": [1, 2, 3],
            "num_tokens": len(features),
            "dtype": "float16",
            "shape": list(features.shape),
        }


def test_lists(tmp_path: Path) -> None:
    written = rows(7)
    store(ListFile(tmp_path / "f.parquet", {}, half=False), written)
    table = pq.read_table(tmp_path / "f.parquet")
    assert table.schema.field("features").type.value_type == pa.float32()
    assert table["features"].to_pylist() == [features.flatten().tolist() for _, features in written]


@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize(
    ("dtype", "read"),
    [(torch.float32, np.float32), (torch.float16, np.float16), (torch.bfloat16, np.float32)],
)
def test_every_number_comes_back(dtype: torch.dtype, read: Any, as_list: bool, tmp_path: Path) -> None:
    odd = torch.tensor([[float("nan"), float("inf"), -0.0, 6e-8, 65504.0]]).to(dtype)
    written = [*rows(5, dtype), ("odd", odd), ("none", odd[:0]), ("turned", torch.ones(5, 4).to(dtype).T)]
    path = tmp_path / "f.parquet"
    store(ListFile(path, {}, half=dtype == torch.float16) if as_list else BinaryFile(path, {}), written)
    back = list(read_features(path))
    assert [name for name, _ in back] == [name for name, _ in written]
    for (_, values), (_, features) in zip(back, written, strict=True):
        assert values.dtype == read
        np.testing.assert_array_equal(values, features.float().numpy().astype(read))
        values[:1] = 1  # the reader's own memory


def test_row_groups_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "ROW_GROUP_BYTES", 1000)
    written = [(f"{i}", torch.full((10, 5), float(i))) for i in range(23)]  # 200 bytes each
    store(BinaryFile(tmp_path / "f.parquet", {}), written)
    file = pq.ParquetFile(tmp_path / "f.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [5, 5, 5, 5, 3]
    assert [values[0, 0] for _, values in read_features(tmp_path / "f.parquet")] == list(range(23))


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_batch", full)
    with pytest.raises(VisionComposerError, match="No space left on device"):
        store(BinaryFile(tmp_path / "f.parquet", {}), rows(1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [BinaryFile, partial(SafetensorsFile, num_images=100)])
def test_a_disk_that_fills_up_while_a_file_is_closed(
    kind: Callable[..., FeatureFile], tmp_path: Path
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    file = kind(tmp_path / "f.parquet", {})
    file.write([encoded(f"{i}", features, row=i) for i, (_, features) in enumerate(rows(100))])
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(VisionComposerError, match=r"f\.parquet: cannot be written: File too large"):
            file.finish()
        file.discard()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
