"""Problems that only a checkpoint's files or a tower's width show stand where the value is written."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vision_composer import compose, load_config, plan
from vision_composer.cli import app
from vision_composer.errors import ConfigError

CONFIG = """schema: 1
encoder: {model_type: clip_vision_model, image_size: 32, patch_size: 8}
weights: {source: ./checkpoint}
image_processor:
  mean: [0.5, 0.5, 0.5]
  crop: false
"""
GOT = {"image_processor_type": "GotOcr2ImageProcessor"}
PLACE = (
    r"a\.yaml:6:9: image_processor\.crop: GotOcr2ImageProcessor does not know it; .*\n  6 \|   crop: false\n"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "preprocessor_config.json").write_text(json.dumps(GOT))
    (tmp_path / "a.yaml").write_text(CONFIG)
    return tmp_path / "a.yaml"


def test_a_key_that_only_the_checkpoints_class_refuses(file: Path) -> None:
    for use in (plan, compose, lambda file: plan(load_config(file))):
        with pytest.raises(ConfigError, match=PLACE):
            use(file)
    shown = CliRunner().invoke(app, ["plan", str(file)])
    assert "a.yaml:6:9" in str(shown.exception)


def test_a_key_that_an_override_sets(file: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"override 'image_processor.crop=32':1:22: image_processor.crop: Got"
    ):
        plan(file, overrides=["image_processor.crop=32"])


def test_a_mapping_has_no_positions(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"^image_processor\.crop: GotOcr2ImageProcessor does"):
        plan(load_config(file).to_dict())


def test_a_width_that_only_the_tower_tells(file: Path) -> None:
    steps = "output: embeds\nconnector:\n  type: steps\n  hidden_size: 5\n  steps: [{type: act}]\n"
    file.write_text(CONFIG.replace("  crop: false\n", "") + steps)
    with pytest.raises(
        ConfigError, match=r"a\.yaml:9:16: connector\.hidden_size: the last step makes rows of 768"
    ):
        plan(file)


def test_configs_are_compared_by_their_values(file: Path) -> None:
    config = load_config(file)
    assert config == load_config(config.to_dict())
    assert pickle.loads(pickle.dumps(config)) == config
