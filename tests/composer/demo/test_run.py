"""The demo, once from start to end, and what it says when it cannot run."""

from __future__ import annotations

import re
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from vision_composer.demo import run
from vision_composer.demo.digits import load_pixels
from vision_composer.demo.run import run_demo
from vision_composer.errors import InputError, MissingDependencyError
from vision_composer.jobs import read_features


def console() -> Console:
    return Console(file=StringIO(), width=100)


@pytest.mark.slow
def test_encodes_every_digit_and_finds_the_deep_features_best(tmp_path: Path) -> None:
    report = StringIO()
    output = tmp_path / "new" / "folder"
    result = run_demo(output, Console(file=report, width=100))
    assert (result.features, result.chart) == (output / "features.parquet", output / "features.png")

    names, features = zip(*read_features(result.features), strict=True)
    _, labels = load_pixels()
    assert [Path(name).stem for name in names] == [
        f"{row:04d}-label-{label}" for row, label in enumerate(labels)
    ]
    assert {row.shape for row in features} == {(16, 5 * 64)}
    assert all(np.isfinite(row).all() for row in features)

    assert list(result.probes) == ["raw pixels", *(f"hidden state {k}" for k in range(5))]
    assert result.probes["hidden state 4"].accuracy > result.probes["raw pixels"].accuracy + 0.05
    shown = re.findall(r"(raw pixels|hidden state \d) .*?(\d\.\d+ ± \d\.\d+).*? (\d+)/510", report.getvalue())
    assert shown == [(name, str(probe), str(probe.correct)) for name, probe in result.probes.items()]

    with Image.open(result.chart) as image:
        assert image.format == "PNG"
        assert image.width > image.height > 500
        # Grey text and bars, and the ten colours of the digits.
        assert len(image.convert("RGB").quantize(64).getcolors()) > 20


def test_a_second_run_replaces_the_files_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Thirty digits, so that the test is quick; every part keeps some.
    parts = {"encoder": slice(0, 10), "probe_train": slice(10, 20), "probe_test": slice(20, 30)}
    pixels, labels = load_pixels()
    monkeypatch.setattr(run, "load_pixels", lambda: (pixels[:30], labels[:30]))
    monkeypatch.setattr(run, "PARTS", parts)
    monkeypatch.setattr(run, "project", lambda features: features[:, :2])
    before, after = (dict(read_features(run_demo(tmp_path, console()).features)) for _ in range(2))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_an_output_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "taken"
    file.write_text("mine")
    with pytest.raises(InputError, match=f"^{re.escape(str(file))}.*: cannot be written: "):
        run_demo(file, console())
    assert file.read_text() == "mine"


@pytest.mark.parametrize("module", ["matplotlib", "sklearn.datasets"])
def test_a_missing_extra_is_named_before_anything_is_written(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'vision-composer\[demo\]'"):
        run_demo(tmp_path / "out", console())
    assert not (tmp_path / "out").exists()
