"""open_clip_config.json, alone and with its weights: the tower and its pixels, or why there is none."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support import tiny
from support.foreign import DEPTH, HEADS, MLP, PATCH, SIDE, WIDTH, Kind, in_open_clips_layers
from typer.testing import CliRunner

from vision_composer import compose, load_config
from vision_composer.cli import app
from vision_composer.config_json import config_from, tower_from_transformers
from vision_composer.errors import ConfigError, InputError, LeftOutWarning, WeightsError

KIND = Kind(pre_norm=True, eps=1e-5)
VISION = {
    "image_size": SIDE,
    "layers": DEPTH,
    "width": WIDTH,
    "head_width": WIDTH // HEADS,
    "mlp_ratio": MLP / WIDTH,
    "patch_size": PATCH,
}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def config(
    vision: dict[str, Any] | None = None, images: dict[str, Any] | None = None, **model: Any
) -> dict[str, Any]:
    cfg = {"embed_dim": 16, "vision_cfg": VISION if vision is None else vision, "text_cfg": {}, **model}
    return {"model_cfg": cfg, "preprocess_cfg": images or {}}


def save(folder: Path, config: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Write what open_clip does; return the weights in timm's names."""
    tensors = KIND.tensors()
    named = in_open_clips_layers(tensors)
    folder.mkdir(exist_ok=True)
    save_file({f"visual.{n}": t for n, t in named.items()}, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return tensors


@pytest.mark.parametrize("of", [str, lambda folder: folder / "open_clip_config.json"], ids=["folder", "file"])
def test_a_folder_of_open_clip_is_composed(of: Any, tmp_path: Path) -> None:
    tensors = save(tmp_path, config())
    composed = compose(of(tmp_path), overrides=["select_layers=[-1]", "post_norm=last"])
    assert composed.config.source.startswith("open_clip_config.json of ")
    pixels = tiny.pixels({"image_size": SIDE}).double()
    with torch.no_grad():
        ours = composed.double()(pixel_values=pixels)
    torch.testing.assert_close(ours, KIND.hidden_states(tensors, pixels)[-1], rtol=1e-12, atol=1e-12)


def test_init_writes_it_down(tmp_path: Path) -> None:
    save(tmp_path, config(images={"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}))
    printed = CliRunner().invoke(app, ["init", "--from", str(tmp_path)])
    file = tmp_path / "tower.yaml"
    file.write_text(printed.stdout)
    loaded = load_config(file)
    assert (loaded.encoder.model_type, loaded.encoder.intermediate_size) == ("clip_vision_model", MLP)
    assert loaded.weights.source == str(tmp_path)
    assert loaded.image_processor.mean == (0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    ("vision", "model", "key", "value"),
    [
        ({}, {}, "hidden_act", "gelu"),
        ({}, {"quick_gelu": True}, "hidden_act", "quick_gelu"),
        ({"act_kwargs": {"approximate": "tanh"}}, {}, "hidden_act", "gelu_pytorch_tanh"),
        ({"norm_kwargs": {"eps": 1e-6}}, {}, "layer_norm_eps", 1e-6),
        ({}, {}, "layer_norm_eps", 1e-5),
        ({"width": 1280, "head_width": 80}, {}, "num_attention_heads", 16),
        ({"width": 1664, "head_width": 104, "mlp_ratio": 4.9231}, {}, "intermediate_size", 8192),
        ({"image_size": [378, 378]}, {}, "image_size", 378),
    ],
)
def test_fields_of_the_encoder(vision: dict[str, Any], model: dict[str, Any], key: str, value: Any) -> None:
    assert tower_from_transformers(config({**VISION, **vision}, **model))["encoder"][key] == value


def test_the_defaults_are_open_clips() -> None:
    found = tower_from_transformers(config({"layers": 12}))["encoder"]
    keys = ("hidden_size", "num_attention_heads", "intermediate_size", "patch_size", "image_size")
    assert [found[key] for key in keys] == [768, 12, 3072, 16, 224]


def test_a_tower_of_timm_is_read_as_timm_names_it() -> None:
    vision = {"timm_model_name": "vit_base_patch16_siglip_256", "timm_pool": "map", "image_size": 384}
    images = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}
    found = load_config(tower_from_transformers(config(vision, images, custom_text=True)))
    assert (found.encoder.model_type, found.encoder.image_size) == ("siglip_vision_model", 384)
    assert found.image_processor.size.given() == {"height": 384, "width": 384}
    with pytest.raises(ConfigError, match=r"vision_cfg\.timm_model_name: timm's 'convnext_large' is none"):
        tower_from_transformers(config({"timm_model_name": "convnext_large"}))


@pytest.mark.parametrize(
    ("vision", "message"),
    [
        ({"layers": [3, 4, 6, 3]}, r"vision_cfg\.layers: open_clip's ResNets have no family here"),
        ({**VISION, "no_ln_pre": True}, r"vision_cfg\.no_ln_pre: with this, open_clip's tower is another"),
        ({**VISION, "ls_init_value": 0.1}, "ls_init_value"),
        ({**VISION, "attentional_pool": True}, "attentional_pool"),
        ({**VISION, "pos_embed_type": "sin_cos_2d"}, "pos_embed_type"),
        ({"eva_model_name": "eva-clip-g-14-x"}, "eva_model_name"),
        ({**VISION, "width": "x"}, r"vision_cfg\.width: expected a whole number of at least 1, got 'x'"),
        ({**VISION, "width": 0}, "got 0"),
        ({**VISION, "mlp_ratio": float("inf")}, "mlp_ratio: expected a number"),
        ({**VISION, "act_kwargs": {"approximate": "sin"}}, "expected 'none' or 'tanh', got 'sin'"),
        ([1], r"vision_cfg: expected an object, got \[1\]"),
        ({}, r"vision_cfg: missing"),
    ],
)
def test_what_is_refused(vision: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tower_from_transformers(config(vision))


def test_what_no_key_says_is_named() -> None:
    with pytest.warns(LeftOutWarning) as caught:
        tower_from_transformers(
            config({**VISION, "new_thing": 3, "output_tokens": True}, {"resize_mode": "longest"})
        )
    said = [str(warning.message) for warning in caught]
    assert any("model_cfg.vision_cfg.new_thing: 3" in line for line in said)
    assert any("preprocess_cfg.resize_mode: 'longest'" in line for line in said)
    assert len(said) == 2


def test_a_pickle_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config()))
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(
        WeightsError, match=r"but open_clip_pytorch_model\.bin: .* set weights\.format: pickle"
    ):
        compose(tmp_path)


def test_a_config_of_transformers_beside_it_goes_first(tmp_path: Path) -> None:
    save(tmp_path, config())
    (tmp_path / "config.json").write_text(json.dumps(tiny.ENCODERS["siglip_vision_model"]))
    assert config_from(tmp_path).encoder.model_type == "siglip_vision_model"


@pytest.mark.parametrize("reached", [True, False])
def test_a_hub_id_has_it_where_it_has_no_config_json(
    reached: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    snapshot = tmp_path / COMMIT
    save(snapshot, config())

    def download(repo: str, name: str, revision: str | None = None, local_files_only: bool = False) -> str:
        if not (snapshot / name).exists():
            raise EntryNotFoundError("404") if reached else LocalEntryNotFoundError("it cannot be reached")
        return str(snapshot / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    found = config_from("org/clip")
    assert (found.weights.source, found.weights.revision) == ("org/clip", COMMIT)
    assert found.encoder.hidden_size == WIDTH
    (snapshot / "open_clip_config.json").unlink()
    with pytest.raises(InputError, match=r"org/clip: .* no config\.json from the hub"):
        config_from("org/clip")
