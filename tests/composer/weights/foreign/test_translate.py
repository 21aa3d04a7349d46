"""Which library's names a checkpoint has, which of its towers fits, and what is said where none does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support import tiny
from support.checkpoints import Tensors
from support.foreign import ENCODER, MLP, WIDTH, Kind, renamed

from vision_composer import compose
from vision_composer.errors import WeightsError

VIT = ENCODER | {"model_type": "vit", "intermediate_size": MLP, "layer_norm_eps": 1e-6}
DINO = ENCODER | {"model_type": "dinov2_with_registers", "mlp_ratio": 2}
SIGLIP = ENCODER | {"model_type": "siglip_vision_model", "intermediate_size": MLP, "hidden_act": "gelu"}
QKV = "blocks.1.attn.qkv.weight"

siglip = Kind(class_token=False, pool=True)


def load(tensors: Tensors, folder: Path, encoder: dict[str, Any] = VIT, **weights: Any) -> Any:
    save_file(tensors, folder / "model.safetensors")
    return compose({"schema": 1, "encoder": encoder, "weights": {"source": str(folder), **weights}})


def openvla() -> Tensors:
    """Two towers in timm's names, and a language model."""
    dino = renamed(Kind(registers=4, folded=True, scale="ls{}.scale_factor").tensors())
    for name in [name for name in dino if ".mlp." in name and not name.endswith("fc2.bias")]:
        shape = [2 * WIDTH if side == MLP else side for side in dino[name].shape]
        dino[name] = torch.ones(shape)
    return {
        **{f"vision_backbone.featurizer.{name}": tensor for name, tensor in dino.items()},
        **{f"vision_backbone.fused_featurizer.{name}": t for name, t in siglip.tensors().items()},
        "language_model.model.layers.0.self_attn.q_proj.weight": torch.zeros(2, 2),
        "projector.fc1.weight": torch.zeros(2, 2),
    }


def test_of_two_towers_the_one_of_the_family_is_taken(tmp_path: Path) -> None:
    tensors = openvla()
    tower = load(tensors, tmp_path, SIGLIP)
    want = siglip.hidden_states(siglip.tensors(), tiny.pixels(SIGLIP))[-2]
    with torch.no_grad():
        features = tower.double()(pixel_values=tiny.pixels(SIGLIP).double())
    torch.testing.assert_close(features, want, rtol=1e-12, atol=1e-12)
    registers = load(tensors, tmp_path, DINO).model.embeddings.register_tokens
    assert torch.equal(registers, tensors["vision_backbone.featurizer.reg_token"])
    with pytest.raises(WeightsError, match=r"timm's names, but tensor 'vision_backbone\.featurizer\.blocks"):
        load(tensors, tmp_path, VIT)


def test_a_prefix_chooses_and_is_then_what_is_spoken_of(tmp_path: Path) -> None:
    both = {f"{side}.{name}": t for side in ("left", "right") for name, t in Kind().tensors().items()}
    both["right.cls_token"] = both["right.cls_token"] + 1
    with pytest.raises(WeightsError, match=r"holds 2 towers that fit, under 'left\.', 'right\.'; say which"):
        load(both, tmp_path)
    for prefix in ("right", "right."):
        tower = load(both, tmp_path, prefix=prefix)
        assert torch.equal(tower.model.embeddings.cls_token, both["right.cls_token"])
    with pytest.raises(WeightsError, match=r"tensor 'vision_backbone\.fused_featurizer\.attn_pool"):
        load(openvla(), tmp_path, VIT, prefix="vision_backbone.fused_featurizer")
    with pytest.raises(WeightsError, match=r"prefixes with it: 'left\.', 'right\.'"):
        load(both, tmp_path, prefix="middle")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t | {"blocks.1.attn.q_norm.weight": torch.ones(8)}, r"tensor 'blocks\.1\.attn\.q_n"),
        (lambda t: t | {"norm_pre.weight": torch.ones(8)}, r"'norm_pre\.weight' has no place in this vit"),
        (lambda t: _without(t, "pos_embed"), r"tensor pos_embed of a vit is missing"),
        (lambda t: _without(t, QKV), rf"tensor {QKV} is missing, and 2 more"),
        (lambda t: t | {QKV: t[QKV][:-1].clone()}, rf"tensor {QKV} has shape \(95, 32\), which does not fit"),
        (lambda t: t | {QKV: t[QKV][:-3].clone()}, rf"tensor {QKV} has shape \(31, 32\), and this"),
        (lambda t: t | {QKV: torch.ones(())}, rf"tensor {QKV} has shape \(\), which does not fit"),
        (lambda t: t | {QKV: torch.full_like(t[QKV], torch.nan)}, rf"tensor {QKV} holds NaN"),
        (lambda t: t | {QKV: t[QKV].to(torch.int8)}, rf"tensor {QKV} is torch\.int8"),
        (lambda t: t | {"pos_embed": torch.ones(1, 9, 32)}, r"tensor pos_embed has shape \(1, 9, 32\), and"),
        (lambda t: t | {"pos_embed": torch.ones(5)}, r"tensor pos_embed has shape \(5,\), which"),
        (lambda t: t | {f"blocks.{i}.x": torch.ones(1) for i in range(4_000)}, r"a tower has 4,000 at most"),
        (lambda t: t | {"blocks.1." + "x" * 200: torch.ones(1)}, r"a tensor has 200 characters at most"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_as_in_the_file(
    change: Callable[[Tensors], Tensors], message: str, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=message):
        load(change(Kind().tensors()), tmp_path)


def _without(tensors: Tensors, name: str) -> Tensors:
    return {other: tensor for other, tensor in tensors.items() if other != name}


def test_parts_of_one_tensor_are_of_one_dtype(tmp_path: Path) -> None:
    tensors = siglip.tensors()
    tensors["attn_pool.kv.weight"] = tensors["attn_pool.kv.weight"].half()
    save_file(tensors, tmp_path / "model.safetensors")
    config = {"schema": 1, "encoder": SIGLIP, "weights": {"source": str(tmp_path)}}
    compose(config)  # the head is not read
    with pytest.raises(WeightsError, match=r"attn_pool\.kv\.weight is float16, and attn_pool\.q\.weight be"):
        compose(config | {"head": True})


def test_a_library_that_has_no_such_tower(tmp_path: Path) -> None:
    encoder = ENCODER | {"model_type": "aimv2_vision_model", "intermediate_size": MLP}
    with pytest.raises(
        WeightsError, match=r"timm's names, which are known for vit, .*, and not for aimv2_vision_model$"
    ):
        load(Kind().tensors(), tmp_path, encoder)


def test_no_more_towers_are_looked_at_than_there_may_be(tmp_path: Path) -> None:
    marks = ("patch_embed.proj.weight", "cls_token", "blocks.0.norm1.weight")
    many = {f"t{i}.{name}": torch.ones(1) for i in range(9) for name in marks}
    with pytest.raises(WeightsError, match=r"holds 9 towers with timm's names; say which with weights\.pre"):
        load(many, tmp_path)


def test_fewer_blocks_are_built_and_read(tmp_path: Path) -> None:
    tensors = Kind().tensors()
    tensors |= {name: t.to(torch.int8) for name, t in tensors.items() if "blocks.2." in name}
    save_file(tensors, tmp_path / "model.safetensors")
    config = {"schema": 1, "encoder": VIT, "weights": {"source": str(tmp_path)}, "post_norm": "none"}
    assert compose(config | {"select_layers": [1]}).plan.num_blocks == 1
    with pytest.raises(WeightsError, match=r"holds 3 blocks, but encoder\.num_hidden_layers is 2"):
        compose(config | {"encoder": VIT | {"num_hidden_layers": 2}})


@pytest.mark.parametrize("file_format", ["shards", "pickle"])
def test_shards_and_pickles(file_format: str, tmp_path: Path) -> None:
    tensors = Kind().tensors()
    want = load(tensors, tmp_path).model.state_dict()
    (tmp_path / "model.safetensors").unlink()
    if file_format == "pickle":
        torch.save(tensors, tmp_path / "pytorch_model.bin")
    else:
        halves = {"a.safetensors": {}, "b.safetensors": {}}  # type: dict[str, Tensors]
        for name, tensor in tensors.items():
            halves["a.safetensors" if ".0." in name else "b.safetensors"][name] = tensor
        for file, half in halves.items():
            save_file(half, tmp_path / file)
        index = {"weight_map": {name: file for file, half in halves.items() for name in half}}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    weights = {"source": str(tmp_path)} | ({"format": "pickle"} if file_format == "pickle" else {})
    got = compose({"schema": 1, "encoder": VIT, "weights": weights}).model.state_dict()
    assert all(torch.equal(got[name], tensor) for name, tensor in want.items())


def test_what_was_loaded_is_saved_under_transformers_names(tmp_path: Path) -> None:
    tower = load(Kind().tensors(), tmp_path)
    tower.save(tmp_path / "saved")
    again = compose(tmp_path / "saved").model.state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in tower.model.state_dict().items())
