"""The examples of docs/jobs.md that read features with other programs run, and find what was written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.jobs import SMALL, draw

from vision_composer import compose
from vision_composer.jobs import encode_dataset, read_features

GUIDE = (Path(__file__).resolve().parents[3] / "docs/jobs.md").read_text(encoding="utf-8")
READING = GUIDE[GUIDE.index("### Reading them") : GUIDE.index("### For vLLM")]
EXAMPLES = re.findall(
    r"^With ([\w'` ]+?)[,:].*?^```python\n(.*?)^```", READING, flags=re.DOTALL | re.MULTILINE
)


@pytest.fixture
def features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray[Any, Any]]:
    draw(tmp_path / "photos", 3)
    encoder = compose(SMALL)
    encode_dataset(encoder, [tmp_path / "photos"], tmp_path / "features")
    encode_dataset(encoder, [tmp_path / "photos"], tmp_path / "lists", format="parquet-list")
    monkeypatch.chdir(tmp_path)
    return [values for _, values in read_features("features")]


def run(name: str) -> dict[str, Any]:
    (code,) = (code for example, code in EXAMPLES if name in example)
    names: dict[str, Any] = {}
    exec(compile(code, f"docs/jobs.md: {name}", "exec"), names)
    return names


def test_every_example_is_tested() -> None:
    tested = ["pyarrow", "pandas", "DuckDB", "polars", "Hugging Face's", "torch's"]
    assert [name for name, _ in EXAMPLES] == [
        *tested[:4],
        "Hugging Face's `datasets`",
        "torch's `DataLoader`",
    ]


def test_pyarrow(features: list[np.ndarray[Any, Any]]) -> None:
    np.testing.assert_array_equal(run("pyarrow")["tokens"], features[0])


def test_pandas(features: list[np.ndarray[Any, Any]]) -> None:
    pytest.importorskip("pandas")
    np.testing.assert_array_equal(run("pandas")["tokens"], features[0])


def test_duckdb(features: list[np.ndarray[Any, Any]]) -> None:
    pytest.importorskip("duckdb")
    means = [mean for _, mean in run("DuckDB")["means"]]
    np.testing.assert_allclose(means, [values.mean() for values in features], rtol=1e-5, atol=1e-6)


def test_polars(features: list[np.ndarray[Any, Any]]) -> None:
    pytest.importorskip("polars")
    means = run("polars")["means"]["features"].to_list()
    np.testing.assert_allclose(means, [values.mean() for values in features], rtol=1e-5, atol=1e-6)


def test_datasets(
    features: list[np.ndarray[Any, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    pytest.importorskip("datasets")
    names = run("datasets")
    values = np.frombuffer(names["numbers"], np.float32).reshape(names["shape"])
    np.testing.assert_array_equal(values, features[0])


def test_data_loader(features: list[np.ndarray[Any, Any]]) -> None:
    np.testing.assert_array_equal(run("DataLoader")["tokens"], features[0])
