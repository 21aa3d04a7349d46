import json

import pytest
from typer.testing import CliRunner

from vision_composer import load_config
from vision_composer.cli import app
from vision_composer.schemas import ENCODER_CONFIGS, TowerConfig


def run(*arguments):
    return CliRunner().invoke(app, ["init", *map(str, arguments)])


@pytest.mark.parametrize("model_type", ENCODER_CONFIGS)
def test_every_family_with_every_default(model_type, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(run(model_type).stdout)
    expected = TowerConfig.model_validate({"schema": 1, "encoder": {"model_type": model_type}})
    assert load_config(file).resolved() == expected.resolved()
    lines = file.read_text().splitlines()
    keys = [i for i, line in enumerate(lines) if ":" in line and not line.lstrip().startswith("#")]
    assert len(keys) > 20
    assert all(lines[i - 1].lstrip().startswith("#") for i in keys)


def test_from_a_config_json(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "llava", "vision_config": {"image_size": 336}})
    )
    file = tmp_path / "a.yaml"
    file.write_text(run("--from", tmp_path).stdout)
    config = load_config(file)
    assert (config.encoder.image_size, config.select_layers) == (336, (-2,))


@pytest.mark.parametrize("arguments", [[], ["dinov2", "--from", "x"]])
def test_usage(arguments):
    assert run(*arguments).exit_code == 2


def test_an_unknown_family():
    assert "did you mean 'dinov2'" in str(run("dinov22").exception)
