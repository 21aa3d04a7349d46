"""``bench`` on the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from support import tiny
from typer.testing import CliRunner

from vision_composer import plan
from vision_composer.bench import measure
from vision_composer.cli import app
from vision_composer.errors import MissingDependencyError
from vision_composer.parallel import CostModel
from vision_composer.schemas.yaml.dump import to_yaml


@pytest.fixture(autouse=True)
def small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peak of the machine does not matter here, and takes long to find."""
    monkeypatch.setattr(measure, "_SIDES", {"cpu": (32,)})


@pytest.fixture
def tower(tmp_path: Path) -> Path:
    file = tmp_path / "tower.yaml"
    file.write_text(to_yaml({"schema": 1, "encoder": tiny.PACKED["pixtral"]}), encoding="utf-8")
    return file


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


def test_a_table(tower: Path) -> None:
    result = run(tower, "--against", "transformers", "--images", "64x32,32x32", "--batch", 2, "--rounds", 1)
    assert result.exit_code == 0, result.output
    assert "2 of 64x32, 2 of 32x32" in result.stdout
    assert "x transformers" in result.stdout
    names = [line.split()[0] for line in result.stdout.splitlines()[3:]]
    assert names == ["vision-composer", "transformers"]


def test_json(tower: Path) -> None:
    result = run(tower, "--rounds", 2, "--images", "32x32", "--json")
    facts = json.loads(result.stdout)
    assert facts["images"] == [[32, 32]]
    assert [row["name"] for row in facts["rows"]] == ["vision-composer"]
    assert len(facts["rows"][0]["seconds"]) == 2


def test_preprocessing(tower: Path) -> None:
    result = run(tower, "--preprocess", "--images", "64x32,64x32", "--rounds", 2)
    assert result.exit_code == 0, result.output
    heading, ours, theirs, pillow, speed = result.stdout.splitlines()
    assert heading.startswith("PixtralImageProcessor, ")
    assert heading.endswith("images 2 of 64x32")
    assert (ours.split()[0], theirs.split()[0]) == ("vision-composer", "transformers")
    assert pillow.startswith("Pillow alone ")
    assert float(speed.split()[-1]) > 0
    facts = json.loads(run(tower, "--preprocess", "--images", "40x40", "--rounds", 3, "--json").stdout)
    assert (facts["images"], len(facts["ours"]), len(facts["theirs"])) == ([[40, 40]], 3, 3)


def test_a_cost_table(tower: Path, tmp_path: Path) -> None:
    table = tmp_path / "costs.json"
    result = run(tower, "--calibrate", table, "--images", "16x16,64x32,64x64", "--rounds", 1)
    assert result.exit_code == 0, result.output
    measured = CostModel.load(table, plan(tower)).measurements
    assert [m.images for m in measured] == [1, 16, 1, 2, 1]
    lines = result.stdout.splitlines()
    assert [line.partition(" of ")[0] for line in lines] == ["1", "16", "1", "2", "1"]


def test_a_size_that_is_none(tower: Path) -> None:
    result = run(tower, "--images", "32")
    assert result.exit_code == 2
    assert "--images" in result.output


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--preprocess", "--latency", "5"], "--preprocess and --latency"),
        (["--calibrate", "costs.json", "--against", "timm"], "--calibrate and --against"),
        (["--latency", "5", "--plot", "a.png", "--batch", "2"], "--latency and --batch and --plot"),
    ],
)
def test_what_would_be_passed_over_is_refused(options: list[str], named: str, tower: Path) -> None:
    result = run(tower, *options)
    assert result.exit_code == 2
    assert f"{named} exclude each other" in result.output


def test_a_chart_that_cannot_be_drawn_is_refused_before_measuring(
    tower: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("vision_composer.bench.compare", lambda *_, **__: pytest.fail("it measured"))
    result = run(tower, "--plot", "a.svg")
    assert isinstance(result.exception, MissingDependencyError)
    assert "pip install 'vision-composer[bench]'" in str(result.exception)


def test_latency(tower: Path) -> None:
    result = run(tower, "--latency", 400, "--images", "40x40", "--rounds", 1)
    assert result.stdout.startswith("40 JPEGs of 40x40 at 400 a second")
    facts = json.loads(run(tower, "--latency", 400, "--images", "40x40", "--rounds", 1, "--json").stdout)
    assert facts["p50"] <= facts["p99"]
    assert len(facts["seconds"]) == 40
