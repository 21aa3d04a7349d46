"""What a checkpoint's files say and a config does not is named, whatever becomes of the rest."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from support.vlms import VLMS, save_vlm
from transformers import PretrainedConfig, RadioConfig
from typer.testing import CliRunner

from vision_composer import compose, config_from, load_config
from vision_composer.cli import app
from vision_composer.config_json import tower_from_transformers
from vision_composer.errors import LeftOutWarning
from vision_composer.left_out import Recorded, left_out

CLIP = {"model_type": "clip_vision_model", "hidden_size": 64, "num_attention_heads": 4}
LLAVA = {"model_type": "llava", "vision_config": CLIP, "text_config": {"hidden_size": 32}}
SAID_BY_NO_KEY = {
    "granite_docling": {"deepstack_visual_indexes"},
    "granite_docling/dense": {"deepstack_visual_indexes"},
}
"""VLM -> what its config.json says and a config does not; of all others a config says everything."""
ALWAYS = {"llava_next", "kimi_k25", "qwen2_5_vl", "idefics3"}
EACH = [
    pytest.param(name, marks=() if name in ALWAYS else pytest.mark.slow, id=name) for name in sorted(VLMS)
]


def named(fields: dict[str, Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tower_from_transformers(fields)
    assert all(warning.category is LeftOutWarning for warning in caught)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("name", EACH)
def test_a_vlm_of_transformers_is_said_whole(name: str, tmp_path: Path) -> None:
    folder = save_vlm(name, tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LeftOutWarning)
        config = config_from(folder)
    messages = [str(warning.message) for warning in caught if warning.category is LeftOutWarning]
    missing = {
        re.split(r"[:.]", message.partition("says ")[2].removeprefix("vision_config."))[0]
        for message in messages
    }
    assert missing == SAID_BY_NO_KEY.get(name, set()), "say it, or name it in a connector's `implied`"
    assert config.weights.source == str(folder)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"mm_gate": 3}, "config.json says mm_gate: 3, which a config cannot say"),
        ({"quantization_config": {"bits": 4}}, "says quantization_config: {'bits': 4}, which"),
        (
            {"vision_config": CLIP | {"num_gates": [1]}},
            r"says vision_config.num_gates: \[1\], which a config",
        ),
        ({"dtype": "float64"}, "says dtype: 'float64', and a config knows float32, float16, bfloat16"),
        ({"x" * 500: "y" * 500}, r"says x{80}: 'y{76}\.\.\., which"),
    ],
)
def test_what_no_key_says_is_named(more: dict[str, Any], message: str) -> None:
    with pytest.warns(LeftOutWarning, match=message):
        tower_from_transformers({**LLAVA, **more})


def test_nothing_is_named_of_what_does_not_matter() -> None:
    common = PretrainedConfig().to_dict() | {"image_token_index": 5, "tie_word_embeddings": False, "x": None}
    assert named({**common, **LLAVA, "vision_config": {**common, **CLIP, "projection_dim": 7}}) == []
    assert named({**common, **CLIP}) == []
    flat = {
        "hidden_size": 3584,
        "rope_theta": 1e6,
        "vocab_size": 5,
        "vision_config": {"model_type": "qwen2_vl"},
    }
    assert named({"model_type": "qwen2_vl", **flat}) == []


def test_a_value_that_is_no_choice_is_named_where_it_is_another() -> None:
    vision = {"rope_mode": "3d", "position_embedding_type": "rope"}
    minimax = {"model_type": "minimax_m3_vl", "vision_feature_layer": -1, "vision_config": vision}
    assert named({**minimax, "vision_feature_select_strategy": "full"}) == []
    (mode, layer) = named({**minimax, "vision_feature_layer": -2, "vision_config": {"rope_mode": "2d"}})[::-1]
    assert mode.startswith("config.json says vision_config.rope_mode: '2d'")
    assert layer.startswith("config.json says vision_feature_layer: -2")
    (channels,) = named({"model_type": "blip-2", "vision_config": {"num_channels": 4}})
    assert channels.startswith("config.json says vision_config.num_channels: 4")
    (strategy,) = named({**CLIP, "vision_feature_select_strategy": "full"})
    assert "vision_feature_select_strategy" in strategy


def test_the_names_of_kimis_own_code_count() -> None:
    vision = {"vt_hidden_size": 64, "vt_num_hidden_layers": 3, "init_pos_emb_time": 7}
    encoder = load_config(
        tower_from_transformers({"model_type": "kimi_k25", "vision_config": vision})
    ).encoder
    assert (encoder.hidden_size, encoder.num_hidden_layers, encoder.pos_emb_time) == (64, 3, 7)


def test_an_encoder_alone_is_read_as_closely() -> None:
    (message,) = named({**CLIP, "num_gates": 2})
    assert message.startswith("config.json says num_gates: 2, which a config cannot say")
    radio = RadioConfig(video_temporal_patch_size=2).to_dict()
    assert {"patch_dim", "video_patch_dim"} <= radio.keys()
    assert named(radio) == []


def test_a_connector_that_is_not_known_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from vision_composer import config_json

    monkeypatch.delitem(config_json._CONNECTORS, "llava")
    assert any("the connector of 'llava' is not known" in message for message in named(LLAVA))
    assert named({"model_type": "clip", "vision_config": CLIP}) == []


def test_an_image_processor_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAVA))
    (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "CLIPImageProcesor"}')
    with pytest.warns(
        LeftOutWarning, match="image_processor is left out: .*'CLIPImageProcesor' is not known"
    ):
        config_from(tmp_path)


def test_the_command_names_it_in_the_file_and_beside(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**LLAVA, "mm_gate": "a\nb"}))
    result = CliRunner().invoke(app, ["init", "--from", str(tmp_path)])
    said = r"config.json says mm_gate: 'a\nb', which a config cannot say"
    line = f"{said}; if the model uses it, features differ"
    assert result.stderr == f"warning: {line}\n"
    assert result.stdout.splitlines()[1] == f"# {line}"
    (tmp_path / "a.yaml").write_text(result.stdout)
    with pytest.warns(LeftOutWarning):
        assert load_config(tmp_path / "a.yaml") == load_config(config_from(tmp_path).resolved())


@pytest.mark.parametrize(
    ("fields", "dtype"),
    [
        ({"vision_config": CLIP | {"dtype": "float16"}}, "float16"),
        ({"vision_config": CLIP | {"torch_dtype": "bfloat16"}, "dtype": None}, "bfloat16"),
        ({"vision_config": CLIP | {"dtype": "float16"}, "torch_dtype": "bfloat16"}, "bfloat16"),
        ({}, "float32"),
    ],
)
def test_the_dtype_of_the_model_or_else_of_its_tower(fields: dict[str, Any], dtype: str) -> None:
    assert load_config(tower_from_transformers({**LLAVA, **fields})).weights.dtype == dtype


def test_a_saved_encoder_is_read_as_it_was_composed(tmp_path: Path) -> None:
    source = save_vlm("llava_next", tmp_path / "vlm")
    encoder = compose(config_from(source), overrides=["select_layers=[1]", "output=embeds"])
    encoder.save(tmp_path / "saved")
    config = config_from(tmp_path / "saved")
    assert config == compose(tmp_path / "saved").config
    assert config.encoder == encoder.config.encoder
    assert (config.select_layers, config.output) == ((1,), "embeds")
    assert (config.tiling, config.feature_select_strategy) == (encoder.config.tiling, "default")
    again = compose(config)
    assert again.connector is not None
    for name, tensor in encoder.connector.state_dict().items():
        assert torch.equal(again.connector.state_dict()[name], tensor)
    (tmp_path / "a.yaml").write_text(
        CliRunner().invoke(app, ["init", "--from", str(tmp_path / "saved")]).stdout
    )
    assert load_config(tmp_path / "a.yaml").resolved() == config.resolved()


def test_recorded_fields_are_the_fields() -> None:
    recorded = Recorded({"a": 1, "b": 2, "vision_config": {"c": 3}})
    assert dict(recorded["vision_config"]) == {"c": 3}
    assert recorded.plain() == {"a": 1, "b": 2, "vision_config": {"c": 3}}
    fresh = Recorded({"a": 1, "b": 2, "vision_config": {"c": 3, "d": 4}})
    assert fresh.get("a") == 1
    assert "z" not in fresh
    fresh.ask("d")
    encoder = load_config({"schema": 1, "encoder": CLIP}).encoder
    assert left_out(fresh, encoder) == ["b: 2", "vision_config.c: 3"]
