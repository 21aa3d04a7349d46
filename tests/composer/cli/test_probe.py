"""``vision-composer probe``: a table, a line to copy, and errors that say what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.images import noise_image
from support.tiny import ENCODERS
from typer.testing import CliRunner, Result

from vision_composer.cli import app
from vision_composer.cli.probe import table
from vision_composer.errors import InputError
from vision_composer.probe import LayerProbe, ProbeReport
from vision_composer.schemas.yaml.dump import to_yaml


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["probe", *arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(6):
        where = tmp_path / "images" / ("left", "right")[number % 2]
        where.mkdir(parents=True, exist_ok=True)
        noise_image(32 + number, 32).save(where / f"{number}.png")
    return tmp_path / "images"


def test_a_table_and_the_line_that_it_speaks_for(folder: Path) -> None:
    (folder / "left" / "broken.png").write_bytes(b"no image")
    result = run("tiny-digits", str(folder), "--seed", "2")
    assert result.exit_code == 0, result.output
    assert f"left out: {folder / 'left' / 'broken.png'}: " in result.stderr
    first, *_, last = result.stdout.splitlines()
    assert first == (
        "tiny-digits: 2 classes; probes fitted on 4 images and judged on 2 others, drawn with seed 2, "
        "1 left out"
    )
    assert last.startswith("select_layers: [-")
    assert "linear ± standard error" in result.stdout


def test_json_of_a_config_that_reads_something_else(folder: Path, tmp_path: Path) -> None:
    """Whatever a config selects, every hidden state is probed."""
    keys = {
        "schema": 1,
        "encoder": ENCODERS["clip_vision_model"],
        "select_layers": [1],
        "feature_select_strategy": "class",
        "post_norm": "each",
        "connector": {"type": "llava", "hidden_size": 16},
        "tiling": {"type": "llava_next"},
        "output": "embeds",
    }
    (tmp_path / "tower.yaml").write_text(to_yaml(keys))
    result = run(str(tmp_path / "tower.yaml"), str(folder), "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    depth = facts["depth"]
    assert [(probe["layer"], probe["pooling"]) for probe in facts["probes"]] == [
        (layer, pooling) for layer in range(depth + 1) for pooling in ("mean", "class")
    ]
    assert facts["select_layers"] == [facts["chosen"] - depth - 1]


def test_digits_need_no_folder() -> None:
    result = run("tiny-digits", "digits", "--batch-size", "64")
    assert result.exit_code == 0, result.output
    assert "fitted on 381 images and judged on 510 others, as the demo splits them" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("select_layers: [-1]")


def test_a_folder_that_cannot_be_probed_is_found_before_weights_are_read(tmp_path: Path) -> None:
    result = run("openai/clip-vit-base-patch32", str(tmp_path / "nowhere"))
    assert isinstance(result.exception, InputError)
    assert "no such folder" in str(result.exception)


def test_bars_and_what_a_class_token_adds() -> None:
    probes = [LayerProbe(0, "mean", 5, 5, 10), LayerProbe(1, "mean", 5, 10, 10)]
    beside = [LayerProbe(layer, "class", 2, 3, 10) for layer in range(2)]
    report = ProbeReport("tower", 1, ("a", "b"), 10, 10, 0, 7, tuple(probes))
    plain = table(report, block="#")
    assert [column.header for column in plain.columns][1] == "7 neighbours"
    assert list(plain.columns[3].cells) == ["#" * 15, "#" * 30]
    classed = table(ProbeReport("tower", 1, ("a", "b"), 10, 10, 0, 7, (*probes, *beside)), block="#")
    assert list(classed.columns[5].cells) == ["0.300", "0.300"]
    assert [row.style for row in classed.rows] == [None, "bold"]
