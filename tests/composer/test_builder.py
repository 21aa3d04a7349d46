"""The builder makes the very configs that YAML makes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import tiny
from support.offenders import offenders

from vision_composer import VisionEncoderBuilder, load_config
from vision_composer.errors import ConfigError, InputError
from vision_composer.presets import preset_names
from vision_composer.schemas import AnyConfig, FusedConfig, TowerConfig, json_schema

ENCODER = tiny.ENCODERS["clip_vision_model"]
KEYS = [field.alias or name for name, field in TowerConfig.model_fields.items()]
FUSED_KEYS = [field.alias or name for name, field in FusedConfig.model_fields.items()]
GUIDE = (Path(__file__).parents[2] / "docs/config.md").read_text(encoding="utf-8")


def from_yaml(tmp_path: Path, keys: dict[str, Any]) -> AnyConfig:
    path = tmp_path / "tower.yaml"
    path.write_text(yaml.safe_dump(keys))
    return load_config(path)


def test_every_step_is_its_key(tmp_path: Path) -> None:
    fields = {key: value for key, value in ENCODER.items() if key != "model_type"}
    built = (
        VisionEncoderBuilder()
        .name("mine", summary="A tower.")
        .source("the paper")
        .license("MIT")
        .encoder(ENCODER["model_type"], **fields)
        .image_processor(size=448, resample="bilinear")
        .weights(
            "someone/clip",
            revision="main",
            dtype="bfloat16",
            prefix="vision_model",
            adapter="someone/lora",
            adapter_revision="v2",
        )
        .select_layers(-2, -4)
        .feature_select_strategy("default")
        .post_norm("last")
        .deepstack("none")
        .head(False)
        .rope_type("none")
        .connector("llava", hidden_size=48, act="relu")
        .tiling("llava_next", image_grid_pinpoints=[[64, 32]])
        .output("embeds")
        .reduce("vidcom2", keep=0.25)
        .attn_backend("sdpa")
        .compile(mode="max-autotune", dynamic=True)
        .parallel(balance="patches", gather="none")
        .quantize("int8")
        .training(freeze=["all"])
        .to_config()
    )
    written = from_yaml(
        tmp_path,
        {
            "schema": 1,
            "name": "mine",
            "summary": "A tower.",
            "source": "the paper",
            "license": "MIT",
            "encoder": ENCODER,
            "image_processor": {"size": 448, "resample": "bilinear"},
            "weights": {
                "source": "someone/clip",
                "revision": "main",
                "dtype": "bfloat16",
                "prefix": "vision_model",
                "adapter": "someone/lora",
                "adapter_revision": "v2",
            },
            "select_layers": [-2, -4],
            "feature_select_strategy": "default",
            "post_norm": "last",
            "deepstack": "none",
            "head": False,
            "rope_type": "none",
            "connector": {"type": "llava", "hidden_size": 48, "act": "relu"},
            "tiling": {"type": "llava_next", "image_grid_pinpoints": [[64, 32]]},
            "output": "embeds",
            "reduce": {"type": "vidcom2", "keep": 0.25},
            "attn_backend": "sdpa",
            "compile": {"mode": "max-autotune", "dynamic": True},
            "parallel": {"mode": "data", "balance": "patches", "gather": "none"},
            "quantize": "int8",
            "training": {"freeze": ["all"]},
        },
    )
    assert built == written
    assert built.to_dict() == written.to_dict()
    assert set(built.to_dict()) == set(KEYS)


def test_every_step_of_several_towers_is_its_key(tmp_path: Path) -> None:
    steps = [{"type": "linear", "width": 8}]
    built = (
        VisionEncoderBuilder()
        .name("two", summary="Two towers.")
        .source("the paper")
        .license("MIT")
        .towers(a="tiny-digits", b={"encoder": ENCODER, "feature_select_strategy": "default"})
        .input("shared", align_corners=True)
        .image_processor(size=64)
        .align(4, 5, resample="bicubic")
        .project(a=16, b={"width": 16, "bias": False})
        .fuse("sum")
        .weights("someone/both", revision="main", dtype="bfloat16")
        .connector("steps", hidden_size=8, steps=steps)
        .output("embeds")
        .attn_backend("sdpa")
        .compile()
        .quantize("int8-dynamic")
        .parallel(gather="none")
        .training(freeze="all")
        .to_config()
    )
    written = from_yaml(
        tmp_path,
        {
            "schema": 1,
            "name": "two",
            "summary": "Two towers.",
            "source": "the paper",
            "license": "MIT",
            "towers": {
                "a": "tiny-digits",
                "b": {"encoder": ENCODER, "feature_select_strategy": "default"},
            },
            "input": {"type": "shared", "align_corners": True},
            "image_processor": {"size": 64},
            "align": {"grid": [4, 5], "resample": "bicubic"},
            "project": {"a": {"width": 16}, "b": {"width": 16, "bias": False}},
            "fuse": "sum",
            "weights": {"source": "someone/both", "revision": "main", "dtype": "bfloat16"},
            "connector": {"type": "steps", "hidden_size": 8, "steps": steps},
            "output": "embeds",
            "attn_backend": "sdpa",
            "compile": True,
            "quantize": "int8-dynamic",
            "parallel": {"mode": "data", "gather": "none"},
            "training": {"freeze": ["all"]},
        },
    )
    assert built == written
    assert built.to_dict() == written.to_dict()
    assert set(built.to_dict()) == set(FUSED_KEYS)


@pytest.mark.parametrize("key", dict.fromkeys([*KEYS, *FUSED_KEYS]))
def test_every_key_has_a_step_a_row_in_the_guide_and_a_property_in_the_schema(key: str) -> None:
    step = getattr(VisionEncoderBuilder, key, None)
    assert callable(step) or key in VisionEncoderBuilder().keys, "give VisionEncoderBuilder a step for it"
    rows = re.findall(r"^\| (`.*?) \|", GUIDE, flags=re.MULTILINE)
    named = {name.partition(".")[0] for row in rows for name in re.findall(r"`([\w.]+)`", row)}
    assert key in named, "give it a row in docs/config.md"
    assert key in json_schema()["properties"]


def test_from_preset_is_the_preset_and_survives_yaml(tmp_path: Path) -> None:
    def check(name: str) -> None:
        built = VisionEncoderBuilder.from_preset(name).to_config()
        assert built == load_config(name)
        assert from_yaml(tmp_path, built.to_dict()) == built

    assert offenders(check, preset_names()) == []


def test_steps_return_new_builders() -> None:
    first = VisionEncoderBuilder.from_preset("clip-vit-base-patch32")
    second = first.select_layers(-2)
    assert first.to_config().select_layers is None
    assert second.to_config().select_layers == (-2,)
    assert second.select_layers().to_config().select_layers is None
    assert first.compile().to_config().compile is True
    assert second.compile(False).to_config().compile is False


def test_what_cannot_work_is_refused_when_the_config_is_made() -> None:
    builder = VisionEncoderBuilder.from_preset("siglip-base-patch16-224").feature_select_strategy("class")
    with pytest.raises(ConfigError, match="has no class token"):
        builder.to_config()
    with pytest.raises(ConfigError, match="clip-vit-base-patch32"):
        VisionEncoderBuilder.from_preset("clip-vit-base-patch23")


def test_options_of_what_is_switched_off_are_refused() -> None:
    builder = VisionEncoderBuilder()
    for refused in (
        lambda: builder.compile(False, mode="max-autotune"),
        lambda: builder.parallel("none", balance="cost"),
        lambda: builder.tiling("none", max_patches=4),
    ):
        with pytest.raises(InputError, match="takes no options"):
            refused()


def test_build_composes() -> None:
    fields = {key: value for key, value in ENCODER.items() if key != "model_type"}
    tower = VisionEncoderBuilder().encoder(ENCODER["model_type"], **fields).select_layers(1).build()
    assert len(tower.blocks) == 1


def test_what_becomes_of_the_callers_lists_later_is_no_step() -> None:
    layers = [3, 7]
    builder = VisionEncoderBuilder().encoder("mllama_vision_model", intermediate_layers_indices=layers)
    layers.append(99)
    assert builder.to_config().encoder.intermediate_layers_indices == (3, 7)  # type: ignore[attr-defined]  # Mllama's


def test_a_literal_reference_of_a_source_stays(tmp_path: Path) -> None:
    file = tmp_path / "tower.yaml"
    file.write_text("schema: 1\nencoder: {model_type: clip_vision_model}\nsummary: 'costs \\${5}'\n")
    config = VisionEncoderBuilder.from_preset(str(file)).to_config()
    assert config.summary == "costs ${5}"
