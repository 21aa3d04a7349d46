"""An encoder of several towers, used as any other: saved, compiled, in jobs, and its weights found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny
from support.compare import assert_close
from support.fused import CLIP, DINO, IMAGES, SIGLIP, TOWERS, alone, composed, config
from typer.testing import CliRunner

from vision_composer import (
    ComposedVisionEncoder,
    FusedVisionEncoder,
    compose,
    encode_dataset,
    load_config,
    plan,
    read_features,
)
from vision_composer.cli import app
from vision_composer.errors import BackendError, ConfigError, InputError, WeightsError
from vision_composer.fusion.preprocess import FusedPreprocessor
from vision_composer.jobs.pooling import pooler_of
from vision_composer.schemas.yaml.dump import to_yaml
from vision_composer.tower.module import VisionTower

GRID = {"align": {"grid": [4, 4]}}
STEPS = {"type": "steps", "hidden_size": 8, "steps": [{"type": "norm"}, {"type": "linear", "width": 8}]}
KEYS: dict[str, dict[str, Any]] = {
    "per tower": {**GRID},
    "stacked": {**GRID, "input": "stacked", "weights": {"dtype": "bfloat16"}},
    "shared": {**GRID, "input": {"type": "shared", "align_corners": True}, "image_processor": {"size": 40}},
    "embeds": {
        **GRID,
        "fuse": "sum",
        "project": {"dino": {"width": 24}, "siglip": {"width": 24, "bias": False}},
        "output": "embeds",
        "connector": STEPS,
    },
    "llava": {**GRID, "output": "embeds", "connector": {"type": "llava", "hidden_size": 24}},
}
QUICK = [name if name != "llava" else pytest.param(name, marks=pytest.mark.slow) for name in KEYS]


def features(encoder: Any) -> torch.Tensor:
    return torch.stack(encoder.encode(IMAGES))


@pytest.mark.parametrize("name", QUICK)
def test_what_is_saved_gives_equal_features(name: str, tmp_path: Path) -> None:
    encoder = composed(**KEYS[name])
    encoder.save(tmp_path / "saved")
    again = compose(tmp_path / "saved")
    assert isinstance(again, FusedVisionEncoder)
    assert torch.equal(features(again), features(encoder))
    assert again.dtype == encoder.dtype
    assert again.plan.fusion.fuse == encoder.plan.fusion.fuse
    again.save(tmp_path / "twice")
    assert torch.equal(features(compose(tmp_path / "twice")), features(encoder))
    for tower, of_it in alone(encoder).items():
        own = compose(tmp_path / "saved" / tower)
        assert torch.equal(features(own), features(of_it))


def test_a_saved_folder_can_be_moved(tmp_path: Path) -> None:
    encoder = composed(**KEYS["embeds"])
    encoder.save(tmp_path / "saved")
    (tmp_path / "saved").rename(tmp_path / "moved")
    assert torch.equal(features(compose(tmp_path / "moved")), features(encoder))


def test_towers_are_presets_paths_or_configs(tmp_path: Path) -> None:
    (tmp_path / "dino.yaml").write_text(to_yaml({"schema": 1, **DINO}))
    (tmp_path / "base.yaml").write_text(
        to_yaml({"schema": 1, "towers": {"dino": "./dino.yaml", "digits": "tiny/digits"}})
    )
    (tmp_path / "top.yaml").write_text(
        to_yaml({"extends": "./base.yaml", "towers": {"dino": {"select_layers": [1]}}, "fuse": "sequence"})
    )
    loaded = load_config(tmp_path / "top.yaml", overrides=["towers.digits=clip-vit-base-patch32"])
    assert loaded.towers["digits"] == load_config("clip-vit-base-patch32")
    assert loaded.towers["dino"].select_layers == (1,)
    base = load_config(tmp_path / "base.yaml")
    assert base.towers["dino"].to_dict() == {"schema": 1, **DINO}
    assert base.towers["digits"] == load_config("tiny-digits")
    assert load_config(base.to_dict()) == base
    assert load_config(base, overrides=["fuse=sum"]).fuse == "sum"
    (tmp_path / "loop.yaml").write_text("schema: 1\ntowers: {a: ./loop.yaml, b: tiny-digits}\n")
    with pytest.raises(ConfigError, match="leads in a circle"):
        load_config(tmp_path / "loop.yaml")


def test_a_config_of_one_tower_has_nothing_of_several() -> None:
    single = load_config({"schema": 1, **DINO})
    assert not single.resolved().keys() & {"towers", "input", "align", "project", "fuse"}
    assert list(single.towers_by_name.values()) == [single]
    encoder = compose(single)
    assert type(encoder) is ComposedVisionEncoder
    assert type(encoder.vision) is VisionTower  # nothing stands between it and the tower
    assert not isinstance(encoder.preprocessor, FusedPreprocessor)


def test_what_the_root_says_is_for_towers_that_say_nothing() -> None:
    fused = load_config(
        config(
            {
                "dino": {**DINO, "weights": {"prefix": "a"}},
                "siglip": {**SIGLIP, "weights": {"source": "some/siglip"}, "attn_backend": "eager"},
                "clip": {**CLIP, "training": {"freeze": "stem"}},
            },
            weights={"source": "some/whole", "revision": "main", "dtype": "float16"},
            attn_backend="sdpa",
            training={"freeze": "all"},
        )
    )
    towers = fused.towers_by_name
    assert {name: tower.weights.source for name, tower in towers.items()} == {
        "dino": "some/whole",
        "siglip": "some/siglip",
        "clip": "some/whole",
    }
    assert [towers[name].weights.prefix for name in towers] == ["a", None, None]
    assert [towers[name].weights.revision for name in towers] == ["main", None, "main"]
    assert {tower.dtype for tower in towers.values()} == {"float16"}
    assert [towers[name].attn_backend for name in towers] == ["sdpa", "eager", "sdpa"]
    assert [towers[name].training.freeze for name in towers] == [("all",), ("all",), ("stem",)]


def test_one_checkpoint_holds_several_towers(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    models = {
        name: tiny.reference(tower["encoder"], seed=i) for i, (name, tower) in enumerate(TOWERS.items())
    }
    whole = {
        f"{prefix}{key}": value.contiguous()
        for name, prefix in (("dino", "vision.featurizer."), ("siglip", "vision.fused_featurizer."))
        for key, value in models[name].state_dict().items()
    }
    save_file(whole, tmp_path / "whole.safetensors", metadata={"format": "pt"})
    encoder = compose(config(weights={"source": str(tmp_path / "whole.safetensors")}, **GRID))
    apart = {}
    for name, model in models.items():
        folder = tiny.save(model, tmp_path / name)
        apart[name] = {**TOWERS[name], "weights": {"source": str(folder)}}
    assert torch.equal(features(encoder), features(compose(config(apart, **GRID))))


def test_errors_of_weights_name_the_tower(tmp_path: Path) -> None:
    nowhere = {"source": str(tmp_path / "none.safetensors")}
    towers = {"dino": DINO, "siglip": {**SIGLIP, "weights": nowhere}}
    with pytest.raises(WeightsError, match=r"^tower siglip: "):
        compose(config(towers, **GRID))
    with pytest.raises(WeightsError, match=r"project\.dino needs project\.dino\.weight|none"):
        compose(
            config(
                project={"dino": {"width": 8, "weights": nowhere}},
                **GRID,
            )
        )
    with pytest.raises(BackendError, match=r"^tower siglip: "):
        compose(config({"dino": DINO, "siglip": {**SIGLIP, "attn_backend": "flash_attention_2"}}, **GRID))
    with pytest.raises(ConfigError, match=r"^towers\.siglip\.encoder\.hidden: "):
        load_config(config({"dino": DINO, "siglip": {"encoder": {**SIGLIP["encoder"], "hidden": 1}}}))


QUERY = "encoder.layers.0.self_attn.q_proj"


def test_one_broken_tower_is_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    composed(**GRID).save(tmp_path)
    file = tmp_path / "siglip/model.safetensors"
    whole = load_file(file)
    for tensors, message in (
        ({f"{QUERY}.weight": torch.full((32, 32), torch.nan)}, r"q_proj\.weight holds NaN"),
        ({f"{QUERY}.lora_A.weight": torch.ones(2, 32)}, "holds an adapter's weights, not merged"),
        ({f"{QUERY}.g_idx": torch.ones(2)}, "holds weights quantised by GPTQ"),
        ({}, "not a complete safetensors file"),
    ):
        save_file(whole | tensors, file, metadata={"format": "pt"})
        if not tensors:
            file.write_bytes(file.read_bytes()[:1000])
        with pytest.raises(WeightsError, match=rf"^tower siglip: .*{message}"):
            compose(tmp_path)


def test_a_tower_that_fails_while_it_runs_is_named() -> None:
    encoder = composed(**GRID)

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    encoder.vision.parts["siglip"].blocks[1].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory") as raised:
        encoder.encode(IMAGES)
    assert raised.value.__notes__ == ["tower siglip"]


@pytest.mark.slow
def test_it_compiles_every_tower_and_warms_up() -> None:
    encoder = composed(compile={"backend": "eager"}, **GRID)
    plain = composed(**GRID)
    assert all(type(tower.run_block).__name__ == "CompiledBlocks" for tower in encoder.vision.parts.values())
    assert encoder.warmup([2, (40, 50)]) == 0.0
    assert_close(features(encoder), features(plain))


def test_the_parts_that_are_frozen_are_those_of_the_tower() -> None:
    encoder = composed({"dino": {**DINO, "training": {"freeze": "all"}}, "siglip": SIGLIP}, **GRID)
    assert {name.split(".")[1] for name, value in encoder.named_parameters() if value.requires_grad} == {
        "siglip"
    }


def test_what_is_for_one_tower_refuses_several() -> None:
    with pytest.raises(InputError, match="begin with a class token"):
        pooler_of("cls", composed(**GRID).plan)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, image in enumerate(IMAGES):
        image.save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("name", ["per tower", "stacked", "shared", "embeds"])
def test_a_job_stores_the_features_of_encode(name: str, workers: int, photos: Path, tmp_path: Path) -> None:
    encoder = composed(**KEYS[name])
    summary = encode_dataset(encoder, [str(photos)], tmp_path / "out", workers=workers, batch_size=2)
    assert (summary.num_images, summary.num_failed, summary.width) == (3, 0, encoder.output_width)
    stored = {Path(name).stem: row for name, row in read_features(tmp_path / "out")}
    for i, expected in enumerate(features(encoder)):
        assert_close(torch.as_tensor(stored[str(i)]).to(expected.dtype), expected)


def test_commands(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # away from the settings of this repository
    file = tmp_path / "two.yaml"
    file.write_text(to_yaml(config(**KEYS["embeds"])))

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, list(arguments))
        assert done.exit_code == 0, done.output
        return done.output

    assert "tower siglip starts from random weights" in run("validate", str(file))
    facts = json.loads(run("plan", str(file), "--json", "--image-size", "30x40", "--device", "cpu"))
    assert facts["images"][0]["num_tokens"] == 16
    assert facts["towers"]["dino"]["attention"]["backend"] == "sdpa"
    printed = run("plan", str(file))
    for text in (
        "dino: 32 features per token",
        "siglip: 32 features",
        "sum",
        "[4, 4]",
        "(rows, width) per image",
    ):
        assert text in printed
    assert "towers.dino.select_layers[0]: -2" in run("explain", str(file), "towers.dino")
    assert "fuse: sum" in run("show", str(file))
    assert "bias: false" in run("show", str(file), "--resolved")
    assert "fuse: sum -> channel" in run("diff", str(file), _single(tmp_path, fuse="channel"))
    assert "encoded 3 images" in run("encode", str(file), str(photos), "-o", str(tmp_path / "out"))
    assert "encoded 3 images" in run("encode", str(file), str(photos), "-o", str(tmp_path / "one.parquet"))
    refused = CliRunner().invoke(app, ["backends", str(file)])
    assert refused.exit_code
    assert "several: dino, siglip" in str(refused.exception or refused.output)


def _single(folder: Path, **keys: Any) -> str:
    file = folder / "other.yaml"
    file.write_text(to_yaml(config(**{**KEYS["embeds"], **keys})))
    return str(file)


def test_a_plan_of_several_towers_is_the_encoders() -> None:
    encoder = composed(**KEYS["embeds"])
    assert plan(encoder.config).to_dict([(9, 9)]) == encoder.plan.to_dict([(9, 9)])
