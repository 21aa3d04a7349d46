"""check_encoder: every family passes, and what is no encoder is refused.

The properties that it checks and the subject that it checks them on have no life of their own: here they pass
what is right, and test_properties has, for each property, families that break it.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import tiny

from vision_composer.encoders import FAMILIES
from vision_composer.encoders.clip import CLIP
from vision_composer.errors import InputError
from vision_composer.testing import check_encoder, properties, subject, tiny_encoder

VARIANTS = {
    name: tiny.ALL[name]
    for name in (
        "clip_vision_model/indivisible",
        "llama4_vision_model/unmerged",
        "qwen2_5_vl_vision/windows",
        "kimi_k25_vision/merge3",
        "gemma4_vision/clipped",
        "mllama_vision_model/one",
    )
}


ALWAYS = {
    *("clip_vision_model", "dinov2", "qwen2_5_vl_vision"),
    *("pixtral", "idefics3_vision", "mllama_vision_model"),
}
"""Of every kind a few; the others take a minute and a half, and are left to ``make test-all``."""


@pytest.mark.parametrize(
    "model_type",
    [pytest.param(name, marks=() if name in ALWAYS else pytest.mark.slow) for name in FAMILIES],
)
def test_every_family_passes(model_type: str) -> None:
    state = torch.random.get_rng_state()
    check_encoder(model_type)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "clip_vision_model/indivisible" else pytest.mark.slow)
        for name in VARIANTS
    ],
)
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


def test_everything_runs_on_the_device_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = []

    def spy(*args: Any, device: torch.device, **kwargs: Any) -> Any:
        devices.append(str(device))
        return compose(*args, device="cpu", **kwargs)

    compose = subject.compose_tower
    monkeypatch.setattr(subject, "compose_tower", spy)
    monkeypatch.setattr(properties, "compose_tower", spy)
    check_encoder("clip_vision_model", device="cpu:0")
    assert set(devices) == {"cpu:0"}  # which is the CPU by another name


def test_float32_is_computed_as_such_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def precisions() -> list[str]:
        backends = torch.backends
        places = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
        return [place.fp32_precision for place in places]

    inside = []
    stem = CLIP.stem
    monkeypatch.setattr(CLIP, "stem", lambda *args: inside.append(precisions()) or stem(*args))
    before = precisions()
    assert "tf32" in before  # convolutions run in it unless something is done
    check_encoder("clip_vision_model")
    assert {*map(tuple, inside)} == {("ieee", "ieee", "ieee")}
    assert precisions() == before


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="device 'cuda:99' cannot be used here"):
        check_encoder("clip_vision_model", device="cuda:99")


@pytest.mark.parametrize("model_type", FAMILIES)
def test_tiny_encoders_are_tiny(model_type: str) -> None:
    encoder = tiny_encoder(model_type)
    assert encoder.model_type == model_type
    assert encoder.num_hidden_layers <= 4
    assert encoder.width <= 64
