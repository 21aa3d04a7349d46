"""``vision-composer demo``, once from start to end, and what it says when it cannot run."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from vision_composer.cli import app
from vision_composer.demo.digits import load_pixels
from vision_composer.errors import InputError, MissingDependencyError
from vision_composer.jobs import read_features


def _demo(output: Path):
    return CliRunner().invoke(app, ["demo", "-o", str(output)])


def test_encodes_every_digit_and_finds_the_deep_features_best(tmp_path: Path) -> None:
    output = tmp_path / "new" / "folder"
    result = _demo(output)
    assert result.exit_code == 0, result.output

    names, features = zip(*read_features(output / "features.parquet"), strict=True)
    _, labels = load_pixels()
    assert [Path(name).stem for name in names] == [
        f"{row:04d}-label-{label}" for row, label in enumerate(labels)
    ]
    assert {row.shape for row in features} == {(16, 5 * 64)}
    assert all(np.isfinite(row).all() for row in features)

    shown = re.findall(r"(raw pixels|hidden state \d) .*?(\d\.\d+) ± (\d\.\d+).*?(\d+)/510", result.output)
    accuracy = {name: float(value) for name, value, _, _ in shown}
    assert list(accuracy) == ["raw pixels", *(f"hidden state {k}" for k in range(5))]
    assert all(float(value) == pytest.approx(int(right) / 510, abs=5e-4) for _, value, _, right in shown)
    assert accuracy["hidden state 4"] > accuracy["raw pixels"] + 0.05

    with Image.open(output / "features.png") as image:
        assert image.format == "PNG"
        assert image.width > image.height > 500
        # Grey text and bars, and the ten colours of the digits.
        assert len(image.convert("RGB").quantize(64).getcolors()) > 20


def test_a_second_run_replaces_the_files_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vision_composer.demo import run

    # Thirty digits, so that the test is quick; every part keeps some.
    parts = {"encoder": slice(0, 10), "probe_train": slice(10, 20), "probe_test": slice(20, 30)}
    pixels, labels = load_pixels()
    monkeypatch.setattr(run, "load_pixels", lambda: (pixels[:30], labels[:30]))
    monkeypatch.setattr(run, "PARTS", parts)
    monkeypatch.setattr(run, "project", lambda features: features[:, :2])
    first = _demo(tmp_path)
    assert first.exit_code == 0, first.output
    before = dict(read_features(tmp_path / "features.parquet"))
    second = _demo(tmp_path)
    assert second.exit_code == 0, second.output
    after = dict(read_features(tmp_path / "features.parquet"))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_an_output_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "taken"
    file.write_text("mine")
    result = _demo(file)
    assert isinstance(result.exception, InputError)
    assert str(file) in str(result.exception)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("module", ["matplotlib", "sklearn.datasets"])
def test_a_missing_extra_is_named_before_anything_is_written(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    result = _demo(tmp_path / "out")
    assert isinstance(result.exception, MissingDependencyError)
    assert "pip install 'vision-composer[demo]'" in str(result.exception)
    assert not (tmp_path / "out").exists()
