"""Frozen parts and gradient checkpointing, in one process."""

from __future__ import annotations

from collections import Counter
from typing import Any
from unittest.mock import patch

import pytest
import torch
from support import tiny
from support.compare import assert_gradients_close
from torch import nn

from vision_composer import compose
from vision_composer.errors import BackendError, ConfigError
from vision_composer.running.training import enable_gradient_checkpointing

ALWAYS = {
    *("clip_vision_model", "dinov2", "siglip_vision_model", "internvl_vision", "llama4_vision_model"),
    *("pixtral", "qwen2_5_vl_vision", "qwen3_vl_vision", "siglip2_vision_model", "kimi_k25_vision"),
}
NAMES = [
    pytest.param(name, marks=() if name in ALWAYS else pytest.mark.slow)
    for name in (*tiny.ENCODERS, *tiny.PACKED)
    if "/" not in name
]


def tower(name: str, **training: Any) -> Any:
    torch.manual_seed(0)
    encoder = (tiny.ENCODERS | tiny.PACKED)[name]
    return compose({"schema": 1, "encoder": encoder, "training": training})


def frozen(encoder: Any) -> set[str]:
    return {name for name, parameter in encoder.named_parameters() if not parameter.requires_grad}


@pytest.mark.parametrize("name", NAMES)
def test_parts_that_are_frozen(name: str) -> None:
    plain = tower(name)
    everything = {path for path, _ in plain.named_parameters()}
    in_blocks = {path for path in everything if f".{plain.family.blocks}." in f".{path}"}
    assert frozen(plain) == set()
    assert frozen(tower(name, freeze="all")) == everything
    blocks = frozen(tower(name, freeze=["blocks[:2]"]))
    assert len(blocks) == sum(1 for _ in plain.blocks[:2].parameters())
    assert blocks < in_blocks
    assert frozen(tower(name, freeze="blocks[:4]")) == in_blocks
    stem = frozen(tower(name, freeze="stem"))
    # Hidden state 0 depends on the stem alone, and on all of it but for what acts inside the blocks.
    encoder = (tiny.ENCODERS | tiny.PACKED)[name]
    keys = {"schema": 1, "encoder": encoder, "select_layers": [0], "post_norm": "none"}
    only_stem = compose(keys | {"training": {"freeze": "stem"}})
    paths = {path for path, _ in only_stem.named_parameters()}
    assert frozen(only_stem) == paths
    in_blocks_only = {f"model.{path}" for path in only_stem.family.unused(0)} & everything
    assert stem == paths | in_blocks_only
    assert frozen(tower(name, freeze=["stem", "blocks[:1]", "blocks[:2]"])) == stem | blocks


def test_more_blocks_than_are_built() -> None:
    keys = {"schema": 1, "encoder": tiny.ENCODERS["dinov2"], "select_layers": [2], "post_norm": "none"}
    encoder = compose(keys | {"training": {"freeze": "blocks[:4]"}})
    assert len(frozen(encoder)) == sum(1 for _ in encoder.blocks.parameters())
    with pytest.raises(ConfigError, match="has no 5 blocks to freeze"):
        compose(keys | {"training": {"freeze": "blocks[:5]"}})


@pytest.mark.parametrize("name", NAMES)
def test_checkpointing_changes_nothing_but_memory(name: str) -> None:
    plain, checkpointed = tower(name).train(), tower(name, gradient_checkpointing=True).train()
    checkpointed.load_state_dict(plain.state_dict())
    batch = plain.preprocess([torch.full((40, 56, 3), 90, dtype=torch.uint8).numpy()])
    runs: list[Counter[str]] = [Counter(), Counter()]
    for encoder, seen in zip((plain, checkpointed), runs, strict=True):
        for path, module in encoder.blocks[0].named_modules():
            module.register_forward_pre_hook(lambda *_, seen=seen, path=path: seen.update([path]))
        torch.manual_seed(0)  # DINOv3 jitters its positions in training
        sum(image.square().mean() for image in encoder(**batch)).backward()
    again = {path for path, times in runs[0].items() if runs[1][path] == 2 * times}
    assert again, "nothing was computed twice"
    assert_gradients_close(*([p.grad for p in tower.parameters()] for tower in (checkpointed, plain)))


def test_blocks_that_cannot_be_checkpointed() -> None:
    encoder = tower("clip_vision_model")
    with (
        patch.object(encoder.tower, "model", nn.Linear(1, 1)),
        pytest.raises(BackendError, match="not a subclass of transformers' GradientCheckpointingLayer"),
    ):
        enable_gradient_checkpointing(encoder.tower)
