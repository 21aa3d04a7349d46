"""``verify`` on the command line: the vision half beside the whole model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file, save_file
from support.vlms import save_vlm
from typer.testing import CliRunner, Result

from vision_composer.cli import app


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    Image.fromarray(np.arange(75 * 40 * 3, dtype=np.uint8).reshape(40, 75, 3)).save(path)
    return path


def verify(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["verify", *map(str, arguments)], env={"COLUMNS": "120"})


def test_equal(tmp_path: Path, image: Path) -> None:
    folder = save_vlm("llava_next", tmp_path / "vlm")
    result = verify(folder, image)
    assert result.exit_code == 0, result.output
    assert "equal" in result.output
    (line,) = json.loads(verify(folder, image, "--json").output)
    assert line["planned"] == line["rows"] == line["expected"] > 16
    assert line["equal"]
    assert line["pixels"] == 0
    assert line["states"].keys() == {"3"}
    assert max(line["difference"], *line["states"].values()) < 1e-6


def test_another_connector_is_told(tmp_path: Path, image: Path) -> None:
    folder = save_vlm("llava", tmp_path / "vlm")
    other = load_file(folder / "model.safetensors")
    name = next(key for key in other if "linear_1.weight" in key)
    save_file(other | {name: other[name] * 2}, tmp_path / "other.safetensors", metadata={"format": "pt"})
    result = verify(folder, image, "--set", f"connector.weights.source={tmp_path / 'other.safetensors'}")
    assert result.exit_code == 1
    assert "DIFFERENT" in result.output
    (line,) = json.loads(
        verify(
            folder,
            image,
            "--set",
            f"connector.weights.source={tmp_path / 'other.safetensors'}",
            "--json",
        ).output
    )
    assert not line["equal"]
    assert line["states"] == {"3": 0}  # the tower is the same


def test_several_layers_have_a_column(tmp_path: Path, image: Path) -> None:
    result = verify(save_vlm("llava/two layers", tmp_path / "vlm"), image)
    assert "1:\xa00, 3:\xa00" in result.output


def test_a_config_without_a_checkpoint(image: Path) -> None:
    result = verify("siglip/base-patch16-224", image, "--set", "weights.source=null")
    assert result.exit_code != 0
    assert "no weights.source" in str(result.exception)


def test_infinite_differences_are_json(tmp_path: Path, image: Path) -> None:
    folder = save_vlm("llava_next", tmp_path / "vlm")
    result = verify(folder, image, "--set", "tiling=none", "--set", "connector.type=llava", "--json")
    assert result.exit_code == 1
    (line,) = json.loads(result.output, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert line["pixels"] == line["difference"] == "inf"


def test_a_hub_id_is_asked_for_where_there_is_no_such_preset(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "no config.json from the hub" in str(verify("nobody/nothing-there", image).exception)
    assert "there is no preset" in str(verify("nothing-there", image).exception)
