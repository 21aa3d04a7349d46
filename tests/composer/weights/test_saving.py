"""What a saved tower's folder holds, and that it needs nothing outside itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from support.checkpoints import ENCODER, features, load

from vision_composer import compose
from vision_composer.errors import WeightsError
from vision_composer.schemas import FusedConfig
from vision_composer.sources import config_of
from vision_composer.weights import save_fused


def test_a_folder_stands_alone_wherever_it_goes(folder: Path, tmp_path: Path) -> None:
    pickled = tmp_path / "pickled.bin"
    torch.save({f"tower.{name}": t for name, t in load_file(folder / "model.safetensors").items()}, pickled)
    tower = load(pickled, weights={"format": "pickle", "prefix": "tower."}, name="mine", post_norm="none")
    tower.save(tmp_path / "new" / "saved")
    pickled.unlink()
    (tmp_path / "new").rename(tmp_path / "moved")
    saved = tmp_path / "moved" / "saved"
    assert {path.name for path in saved.iterdir()} >= {
        "tower.yaml",
        "model.safetensors",
        "config.json",
        "preprocessor_config.json",
    }
    keys = yaml.safe_load((saved / "tower.yaml").read_text())
    assert keys["weights"] == {"source": "./model.safetensors", "dtype": "float32"}
    assert (keys["name"], keys["select_layers"], keys["post_norm"]) == ("mine", [-2], "none")
    assert torch.equal(features(compose(saved)), features(tower))


def test_the_dtype_is_that_of_the_parameters_by_now(folder: Path, tmp_path: Path) -> None:
    tower = load(folder).to(torch.bfloat16)
    tower.save(tmp_path / "saved")
    again = compose(tmp_path / "saved")
    assert again.dtype is torch.bfloat16
    assert {tensor.dtype for tensor in load_file(tmp_path / "saved/model.safetensors").values()} == {
        torch.bfloat16
    }
    assert torch.equal(features(again), features(tower))


def test_images_are_preprocessed_as_before(folder: Path, tmp_path: Path) -> None:
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"size": {"shortest_edge": 32}, "crop_size": 32, "image_mean": [0.1, 0.2, 0.3]})
    )
    load(folder).save(tmp_path / "saved")
    assert list(compose(tmp_path / "saved").preprocessor.processor.image_mean) == [0.1, 0.2, 0.3]


def test_where_or_what_cannot_be(tmp_path: Path) -> None:
    tower = compose({"schema": 1, "encoder": ENCODER})
    (tmp_path / "file").write_text("x")
    with pytest.raises(WeightsError, match="cannot be written"):
        tower.save(tmp_path / "file")
    (tmp_path / "taken" / "model.safetensors").mkdir(parents=True)
    with pytest.raises(WeightsError, match="taken: cannot be written"):
        tower.save(tmp_path / "taken")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "processor_config.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"other: has a processor_config\.json, which would be read"):
        tower.save(tmp_path / "other")
    with pytest.raises(WeightsError, match="a tower of float64 cannot be saved"):
        tower.double().save(tmp_path / "tower")
    assert not (tmp_path / "tower").exists()


def test_a_connector_that_was_not_built_is_read_from_where_it_was(folder: Path, tmp_path: Path) -> None:
    shapes = {"linear_1": (48, 32), "linear_2": (48, 48)}
    projector = {f"multi_modal_projector.{name}.weight": torch.ones(shape) for name, shape in shapes.items()}
    projector |= {f"multi_modal_projector.{name}.bias": torch.ones(48) for name in shapes}
    torch.save(load_file(folder / "model.safetensors") | projector, tmp_path / "vlm.bin")
    connector = {"type": "llava", "hidden_size": 48}
    load(tmp_path / "vlm.bin", weights={"format": "pickle"}, connector=connector).save(tmp_path / "saved")
    assert compose(tmp_path / "saved", overrides=["output=embeds"]).output_width == 48


def test_a_connector_that_an_adapter_may_change_has_to_be_named(folder: Path, tmp_path: Path) -> None:
    lora = tmp_path / "lora"
    lora.mkdir()
    query = "base_model.model.encoder.layers.0.self_attn.q_proj.lora"
    tensors = {f"{query}_A.weight": torch.ones(2, 32), f"{query}_B.weight": torch.ones(32, 2)}
    save_file(tensors, lora / "adapter_model.safetensors")
    (lora / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 2}))
    connector = {"type": "llava", "hidden_size": 48}
    load(folder, weights={"adapter": str(lora)}, connector=connector).save(tmp_path / "saved")
    with pytest.raises(WeightsError, match=r"connector\.weights says where"):
        compose(tmp_path / "saved", overrides=["output=embeds"])


def test_several_towers_have_no_file_in_which_it_could_be_sought(tmp_path: Path) -> None:
    config = config_of(
        {
            "schema": 1,
            "towers": {"one": {"encoder": ENCODER}, "other": {"encoder": ENCODER}},
            "weights": {"source": "a/b", "adapter": "a/lora"},
            "connector": {"type": "steps", "hidden_size": 64, "steps": [{"type": "norm"}]},
        }
    )
    assert isinstance(config, FusedConfig)
    save_fused(config, tmp_path, project=torch.nn.ModuleDict(), connector=None, dtype=torch.float32)
    assert yaml.safe_load((tmp_path / "tower.yaml").read_text()).get("connector") is None
