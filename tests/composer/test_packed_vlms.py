"""VLMs of images at native resolution: their towers, read from their own checkpoints and config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support import tiny

from vision_composer import compose, load_config
from vision_composer.config_json import tower_of_config_json
from vision_composer.errors import WeightsError

_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 64,
    "num_experts": 2,
    "num_local_experts": 2,
    "n_routed_experts": 2,
    "num_experts_per_tok": 1,
    "n_group": 1,
    "topk_group": 1,
}
# model_type of the VLM -> tiny encoder, path of the tower, what the config of the text needs besides.
VLMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "glm4v": ("glm4v_vision", "visual", {"pad_token_id": None}),
    "glm4v_moe": ("glm4v_vision/biased", "visual", {}),
    "kimi_k25": (
        "kimi_k25_vision",
        "vision_tower",
        {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8},
    ),
    "minimax_m3_vl": ("minimax_m3_vl_vision", "vision_tower", {}),
    "mistral3": ("pixtral", "vision_tower", {}),
    "qwen2_vl": ("qwen2_vl_vision", "visual", {}),
    "qwen2_5_vl": ("qwen2_5_vl_vision", "visual", {}),
    "qwen3_vl": ("qwen3_vl_vision", "visual", {}),
    "qwen3_vl_moe": ("qwen3_vl_vision", "visual", {}),
    "qwen3_5": ("qwen3_5_vision", "visual", {}),
}


@pytest.fixture(params=VLMS)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Path]:
    """The tower of a VLM that transformers saved and loaded again, and the folder."""
    name, tower, extra = VLMS[request.param]
    config = transformers.AutoConfig.for_model(request.param)
    vision = {key: value for key, value in tiny.PACKED[name].items() if key != "model_type"}
    known = config.text_config.to_dict()
    text = {key: value for key, value in (_TEXT | extra).items() if key in known}
    config = type(config)(
        vision_config=type(config.vision_config)(**vision), text_config=type(config.text_config)(**text)
    )
    torch.manual_seed(0)
    vlm = tiny.scramble(transformers.AutoModelForImageTextToText.from_config(config))
    vlm.save_pretrained(tmp_path)
    again = type(vlm).from_pretrained(tmp_path, dtype=torch.float32)
    return again.model.get_submodule(tower).eval(), tmp_path


def test_towers_load_from_the_vlms_own_checkpoint(saved: tuple[Any, Path]) -> None:
    theirs, folder = saved
    config = load_config(tower_of_config_json(str(folder)))
    encoder = compose(config, dtype=torch.float32)
    ours, wanted = encoder.model.state_dict(), theirs.state_dict()
    assert ours.keys() == wanted.keys()
    assert all(torch.equal(ours[name], wanted[name]) for name in ours)
    assert type(encoder.model) is type(theirs) or "Moe" in type(theirs).__name__
    encoder.save(folder / "saved")
    with safe_open(folder / "saved" / "model.safetensors", framework="pt") as file:
        assert set(file.keys()) == set(encoder.plan.shapes or ())
    again = compose(folder / "saved").state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in encoder.state_dict().items())


def test_cut_towers_and_missing_tensors(saved: tuple[Any, Path]) -> None:
    theirs, folder = saved
    config = tower_of_config_json(str(folder)) | {"select_layers": [2], "post_norm": "none"}
    ours, wanted = compose(config, dtype=torch.float32).model.state_dict(), theirs.state_dict()
    assert all(torch.equal(ours[name], wanted[name]) for name in ours)
    assert {name for name in wanted if ".2." in name}.isdisjoint(ours)
    tensors = load_file(folder / "model.safetensors")
    lost = next(name for name in sorted(tensors) if "vis" in name and ".1." in name and "weight" in name)
    del tensors[lost]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=lost.replace(".", r"\.")):
        compose(config)


@pytest.mark.parametrize("saved", ["kimi_k25"], indirect=True)
def test_published_names_that_no_pattern_changes(saved: tuple[Any, Path]) -> None:
    """transformers saves Kimi's patch embedding below ``encoder``; the published one stands beside that."""
    theirs, folder = saved
    tensors = load_file(folder / "model.safetensors")
    published = {name.replace("encoder.patch_embed", "patch_embed"): tensors[name] for name in tensors}
    assert {"vision_tower.patch_embed.proj.weight", "vision_tower.patch_embed.pos_emb.weight"} < set(
        published
    )
    save_file(published, folder / "model.safetensors", metadata={"format": "pt"})
    again = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    ours = compose(load_config(tower_of_config_json(str(folder))), dtype=torch.float32).model.state_dict()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(again.model.vision_tower.state_dict()[name], tensor)
        assert torch.equal(ours[name], tensor)


@pytest.mark.parametrize("saved", ["kimi_k25"], indirect=True)
def test_a_prefix_may_name_the_tower_too(saved: tuple[Any, Path]) -> None:
    """Of a model whose conversion mapping knows where the tower is, and of the others."""
    theirs, folder = saved
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        name = next(name for name in file.keys() if "vision_tower." in name)  # noqa: SIM118
    root = name.partition("vision_tower.")[0]
    config = load_config(tower_of_config_json(str(folder)))
    for prefix in (root, f"{root}vision_tower", f"{root}vision_tower."):
        ours = compose(config, overrides=[f"weights.prefix='{prefix}'"], dtype=torch.float32).model
        assert all(torch.equal(tensor, theirs.state_dict()[key]) for key, tensor in ours.state_dict().items())


@pytest.mark.parametrize(
    ("vlm", "tower"),
    [
        ("qwen2_vl", "qwen2_vl_vision"),
        ("qwen2_5_vl", "qwen2_5_vl_vision"),
        ("qwen3_vl_moe", "qwen3_vl_vision"),
        ("qwen3_5_moe", "qwen3_5_vision"),
        ("glm4v_moe", "glm4v_vision"),
    ],
)
@pytest.mark.parametrize("suffix", ["", "_vision"])
def test_config_json_names_the_tower_in_several_ways(
    vlm: str, tower: str, suffix: str, tmp_path: Path
) -> None:
    vision = {"model_type": vlm + suffix, "depth": 3, "deepstack_visual_indexes": [1]}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": vlm, "vision_config": vision}))
    config = load_config(tower_of_config_json(str(tmp_path)))
    assert (config.encoder.model_type, config.encoder.num_hidden_layers) == (tower, 3)


@pytest.mark.parametrize(
    ("fields", "encoder", "connector"),
    [
        (
            {
                "model_type": "qwen2_5_omni",
                "torch_dtype": "bfloat16",
                "thinker_config": {
                    "vision_config": {"model_type": "qwen2_5_omni_vision_encoder", "depth": 3}
                },
            },
            "qwen2_5_omni_vision_encoder",
            None,
        ),
        (
            {
                "model_type": "paddleocr_vl",
                "hidden_size": 48,
                "torch_dtype": "bfloat16",
                "vision_config": {"model_type": "paddleocr_vl", "num_hidden_layers": 3},
            },
            "paddleocr_vl_vision",
            {"type": "paddleocr_vl", "hidden_size": 48},
        ),
        (
            {
                "model_type": "hunyuan_vl",
                "dtype": "bfloat16",
                "vision_config": {"num_hidden_layers": 3, "rms_norm_eps": 0.5},
            },
            "hunyuan_vl_vision",
            {"type": "hunyuan_vl", "hidden_size": 4096, "rms_norm_eps": 0.5},
        ),
    ],
)
def test_config_json_has_the_tower_or_the_text_in_places_of_its_own(
    fields: dict[str, Any], encoder: str, connector: dict[str, Any] | None, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(fields))
    config = load_config(tower_of_config_json(str(tmp_path)))
    assert (config.encoder.model_type, config.encoder.num_hidden_layers) == (encoder, 3)
    assert config.weights.dtype == "bfloat16"
    found = None if config.connector is None else config.connector.model_dump(exclude_unset=True)
    assert found == connector
