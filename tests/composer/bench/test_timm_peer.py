"""timm's encoder with a tower's weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.tiny import config

from vision_composer import compose
from vision_composer.bench import compare
from vision_composer.bench.timm_peer import run_timm, timm_weights
from vision_composer.errors import InputError


def _timm() -> None:
    pytest.importorskip("timm", reason="timm needs torchvision, which not every build of torch has")


@pytest.mark.parametrize(
    "keys",
    [
        {"select_layers": [-2]},
        {"select_layers": [3, 1, 3]},
        {"select_layers": [-1, 2], "post_norm": "each"},
        {"select_layers": [-1], "feature_select_strategy": "full"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["clip_vision_model", "siglip_vision_model"])
def test_features_are_the_towers(name: str, keys: dict[str, Any]) -> None:
    _timm()
    result = compare(config(name, **keys), against=["timm"], batch=2, rounds=1)
    assert result.rows[1].difference < 1e-5


@pytest.mark.parametrize("name", ["clip_vision_model", "siglip_vision_model"])
def test_no_weight_is_lost(name: str) -> None:
    weights = compose(config(name)).model.state_dict()
    renamed = timm_weights(weights)
    assert sum(weight.numel() for weight in renamed.values()) == sum(w.numel() for w in weights.values())
    blocks = {weight for weight in renamed if weight.startswith("blocks.0.")}
    assert blocks == {
        f"blocks.0.{part}.{kind}"
        for part in ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
        for kind in ("weight", "bias")
    }
    layer = "encoder.layers.1.self_attn"
    qkv = [weights[f"{layer}.{part}_proj.weight"] for part in "qkv"]
    assert torch.equal(renamed["blocks.1.attn.qkv.weight"], torch.cat(qkv))


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("dinov2", {}, "compared on clip_vision_model and siglip_vision_model, not on dinov2"),
        ("pixtral", {}, "not on pixtral"),
        ("clip_vision_model", {"select_layers": [0, 1]}, "not on the stem"),
        ("siglip_vision_model", {"head": True}, "not on the stem or the head"),
    ],
)
def test_what_timm_does_not_have(name: str, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run_timm(compose(config(name, **keys)), {})
