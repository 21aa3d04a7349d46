"""check_encoder: every family passes, and what is no encoder is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import tiny

from vision_composer.encoders import FAMILIES
from vision_composer.errors import InputError
from vision_composer.testing import check_encoder

VARIANTS = {
    name: (tiny.ENCODERS | tiny.PACKED | tiny.PADDED | tiny.TILED)[name]
    for name in (
        "clip_vision_model/indivisible",
        "llama4_vision_model/unmerged",
        "qwen2_5_vl_vision/windows",
        "kimi_k25_vision/merge3",
        "gemma4_vision/clipped",
        "mllama_vision_model/one",
    )
}


@pytest.mark.parametrize("model_type", FAMILIES)
def test_every_family_passes(model_type: str) -> None:
    state = torch.random.get_rng_state()
    check_encoder(model_type)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_config_of_ones_own_is_checked(name: str) -> None:
    check_encoder(VARIANTS[name])


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("clip_vision_modle", r"model_type: unknown model_type .*did you mean 'clip_vision_model'"),
        ({"model_type": "dinov2", "hidden_size": 30}, "num_attention_heads: 12 heads do not divide"),
        ({"model_type": "vit", "prefix_tokens": 1}, "generic adapter"),
        ([], "expected a mapping"),
    ],
)
def test_what_is_no_config_is_refused(encoder: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_encoder(encoder)
