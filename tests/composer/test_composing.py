"""compose(): sources, overrides, devices, the generic adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import OmegaConf
from support import tiny
from support.images import noise_image

import vision_composer
from vision_composer import TowerConfig, compose
from vision_composer.errors import BackendError, ConfigError, InputError, WeightsError

CONFIG: dict[str, Any] = {"schema": 1, "encoder": tiny.ENCODERS["clip_vision_model"], "select_layers": [-2]}


def test_every_kind_of_source(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    validated = TowerConfig.model_validate(CONFIG)
    for source in (CONFIG, path, str(path), validated, OmegaConf.create(CONFIG)):
        tower = compose(source)
        assert tower.config == validated
        assert len(tower.blocks) == 3
    assert compose(validated, overrides=["select_layers=[1]"]).config.select_layers == (1,)


def test_the_package_names_stay_functions_after_their_modules_load() -> None:
    import vision_composer.composing
    import vision_composer.planning

    assert callable(vision_composer.compose)
    assert callable(vision_composer.plan)
    assert vision_composer.plan(CONFIG).num_blocks == 3


@pytest.mark.parametrize("name", sorted(set(vision_composer.__all__)))
def test_public_names_exist(name: str) -> None:
    assert getattr(vision_composer, name) is not None


def test_unknown_public_names_do_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'composee'"):
        vision_composer.composee  # noqa: B018


def test_dtype_takes_the_place_of_the_configs() -> None:
    tower = compose({**CONFIG, "weights": {"dtype": "float16"}}, dtype=torch.bfloat16)
    assert tower.dtype is torch.bfloat16
    with pytest.raises(InputError, match=r"not torch\.int8"):
        compose(CONFIG, dtype=torch.int8)


def test_evaluation_mode_and_device() -> None:
    tower = compose(CONFIG, device="cpu")
    assert not tower.training
    assert tower.device == torch.device("cpu")


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "", "hpu", "meta"])
def test_a_device_that_is_not_there(device: str) -> None:
    with pytest.raises(InputError, match=rf"device '{device}' cannot be used here"):
        compose(CONFIG, device=device)


@pytest.mark.parametrize("device", ["hpu", "meta", "cuda:99"])
def test_a_default_device_that_is_not_there(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_default_device", lambda: torch.device(device))
    with pytest.raises(InputError, match=rf"device '{device}' cannot be used here"):
        compose(CONFIG)


def test_a_group_asks_of_a_config_what_data_parallelism_does() -> None:
    group: Any = object()
    with pytest.raises(ConfigError, match="is compiled by its blocks"):
        compose({**CONFIG, "compile": {"scope": "tower"}}, process_group=group)


def test_an_attention_backend_that_cannot_work_here() -> None:
    with pytest.raises(BackendError, match="flash_attention_2 runs on CUDA"):
        compose(CONFIG, overrides=["attn_backend=flash_attention_2"], device="cpu")


# --- the generic adapter ------------------------------------------------------------------------------

_DENSE = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
GENERIC = {
    "vit": {"prefix_tokens": 1},
    "deit": {"prefix_tokens": 2},
    "beit": {"prefix_tokens": 1, "use_mask_token": False},
    "ijepa": {"prefix_tokens": 0},
    "vit_msn": {"prefix_tokens": 1},
    "data2vec-vision": {"prefix_tokens": 1},
}


@pytest.mark.parametrize("layers", [None, [-2], [0], [-1, 2, 2]], ids=str)
@pytest.mark.parametrize("model_type", GENERIC)
def test_the_generic_adapter_returns_transformers_hidden_states(
    model_type: str, layers: list[int] | None, tmp_path: Path
) -> None:
    from transformers import AutoConfig, AutoModel

    extra = {key: value for key, value in GENERIC[model_type].items() if key != "prefix_tokens"}
    config = AutoConfig.for_model(model_type, **_DENSE, **extra, tie_last_hidden_states=False)
    model = tiny.scramble(AutoModel.from_config(config))
    model.save_pretrained(tmp_path)
    encoder = {"model_type": model_type, **_DENSE, **GENERIC[model_type]}
    tower = compose(
        {
            "schema": 1,
            "encoder": encoder,
            "weights": {"source": str(tmp_path)},
            "select_layers": layers,
            "feature_select_strategy": "default",
        }
    )
    assert tower.plan.generic
    pixel_values = tiny.pixels(encoder)
    with torch.no_grad():
        output = model(pixel_values=pixel_values, output_hidden_states=True)
        got = tower(pixel_values=pixel_values)
    if layers is None:
        want = output.last_hidden_state
    else:
        want = torch.cat([output.hidden_states[k] for k in layers], dim=-1)
    prefix = GENERIC[model_type]["prefix_tokens"]
    assert torch.equal(got, want[:, prefix:])
    assert got.shape[1:] == (tower.plan.num_tokens(32, 32), tower.plan.output_width)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (
            {"model_type": "vit", "prefix_tokens": 4},
            r"one image gives \(1, 17, 32\), but its patches and 4 prefix tokens",
        ),
        ({"model_type": "vit", "prefix_tokens": 1, "hidden_act": "zzz"}, "cannot build this vit"),
        ({"model_type": "vit_mae", "prefix_tokens": 1}, "vit_mae"),
        ({"model_type": "bert", "prefix_tokens": 0}, "cannot run a bert"),
        ({"model_type": "swin", "prefix_tokens": 0}, "swin"),
        ({"model_type": "yolos", "prefix_tokens": 1}, "yolos"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["model_type"],
)
def test_the_generic_adapter_refuses_what_it_cannot_run(encoder: dict[str, Any], message: str) -> None:
    with pytest.raises(BackendError, match=message):
        compose({"schema": 1, "encoder": {**_DENSE, **encoder}})


@pytest.mark.parametrize(
    "name",
    [
        *("clip_vision_model", "llama4_vision_model", "qwen2_5_vl_vision", "mllama_vision_model"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("cosmos3_edge_vision", "idefics3_vision", "siglip2_vision_model", "radio", "vit")
        ),
    ],
)
def test_torchs_default_device_does_not_matter_to_a_tower_on_another(name: str, tmp_path: Path) -> None:
    """On ``meta`` nothing has values: what is made there without naming a device cannot be loaded or read."""
    made = tiny.scramble(compose({"schema": 1, "encoder": tiny.ALL[name]}))
    made.save(tmp_path)
    image = noise_image(64, 48)
    inputs = made.preprocess([image])
    with torch.no_grad():
        want = made(**inputs)
        with torch.device("meta"):
            encoder = compose(tmp_path, device="cpu")
            read = encoder.preprocess([image])
            got = encoder(**read)
    assert {tensor.device.type for tensor in encoder.state_dict().values()} == {"cpu"}
    assert all(torch.equal(read[key], value) for key, value in inputs.items())
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(got, want, strict=True))


def test_the_generic_adapter_holds_the_checkpoints_config_against_ours(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModel

    AutoModel.from_config(AutoConfig.for_model("vit", **_DENSE, hidden_act="relu")).save_pretrained(tmp_path)
    encoder = {"model_type": "vit", "prefix_tokens": 1, **_DENSE}
    with pytest.raises(WeightsError, match=r"config\.json means hidden_act: 'relu'"):
        compose({"schema": 1, "encoder": encoder, "weights": {"source": str(tmp_path)}})
    compose({"schema": 1, "encoder": {**encoder, "hidden_act": "relu"}, "weights": {"source": str(tmp_path)}})


def test_the_generic_adapter_needs_prefix_tokens_and_a_known_type() -> None:
    with pytest.raises(ConfigError, match=r"encoder\.model_type: unknown model_type 'deit'.*prefix_tokens"):
        compose({"schema": 1, "encoder": {"model_type": "deit", **_DENSE}})
    with pytest.raises(BackendError, match="transformers cannot make a config of model_type 'nonesuch'"):
        compose({"schema": 1, "encoder": {"model_type": "nonesuch", "prefix_tokens": 0, **_DENSE}})
    with pytest.raises(ConfigError, match="generic adapter returns"):
        compose(
            {"schema": 1, "encoder": {"model_type": "vit", "prefix_tokens": 1, **_DENSE}, "post_norm": "last"}
        )


def test_prefix_tokens_ask_for_the_generic_adapter_beside_a_family() -> None:
    config = {"schema": 1, "encoder": {"model_type": "clip_vision_model", **_DENSE}}
    generic = {**config, "encoder": {**config["encoder"], "prefix_tokens": 1}}
    assert not compose(config).plan.generic
    encoder = compose(generic)
    assert encoder.plan.generic
    assert encoder.num_tokens(32, 32) == compose(config).num_tokens(32, 32)
