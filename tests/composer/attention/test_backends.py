"""The choice of an attention backend, and that every backend computes the same."""

from __future__ import annotations

import importlib.machinery

import pytest
import tiny
import torch

from vision_composer import AttentionBackend, compose, get_vit_attn_backend
from vision_composer.attention import backends, select_attn_backend
from vision_composer.encoders import FAMILIES
from vision_composer.errors import BackendError
from vision_composer.schemas import ATTN_BACKENDS

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_the_schema_and_the_registry_know_the_same_names() -> None:
    assert set(ATTN_BACKENDS) == {backend.value for backend in AttentionBackend}


def test_on_cpu_sdpa_is_chosen_and_the_rest_is_explained() -> None:
    choice = select_attn_backend(64, torch.float32, CPU)
    assert choice.backend is AttentionBackend.SDPA
    assert set(choice.passed_over) == set(AttentionBackend) - {AttentionBackend.SDPA}
    assert choice.passed_over[AttentionBackend.FLASH_ATTENTION_2] == "runs on CUDA, not on cpu"


def test_flash_attention_is_chosen_where_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.machinery.ModuleSpec("flash_attn", None)
    monkeypatch.setattr(backends, "find_spec", lambda name: spec)
    assert select_attn_backend(64, torch.bfloat16, CUDA).backend is AttentionBackend.FLASH_ATTENTION_2
    assert select_attn_backend(64, torch.float32, CUDA).backend is AttentionBackend.SDPA
    assert select_attn_backend(320, torch.float16, CUDA).backend is AttentionBackend.SDPA
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    refused = select_attn_backend(64, torch.bfloat16, CUDA).passed_over[AttentionBackend.FLASH_ATTENTION_2]
    assert refused == "the flash-attn package is not installed"


@pytest.mark.parametrize("override", ["flash_attention_2", AttentionBackend.FLEX_ATTENTION])
def test_an_override_that_cannot_work_says_why_and_what_would(override: AttentionBackend | str) -> None:
    with pytest.raises(BackendError, match=r"CUDA.*these work here: sdpa, eager"):
        select_attn_backend(64, torch.float32, CPU, override=override)


def test_unknown_backends_get_a_suggestion() -> None:
    with pytest.raises(BackendError, match="did you mean 'sdpa'"):
        select_attn_backend(64, torch.float32, CPU, override="spda")


def test_the_seed_function() -> None:
    assert get_vit_attn_backend(64, torch.float32) is AttentionBackend.SDPA
    override = AttentionBackend.EAGER
    assert get_vit_attn_backend(64, torch.float32, attn_backend_override=override) is AttentionBackend.EAGER
    with pytest.raises(BackendError):
        get_vit_attn_backend(
            64, torch.float32, attn_backend_override=AttentionBackend.FLASH_ATTENTION_2, device="cpu"
        )


@pytest.mark.parametrize(
    "name", [name for name, e in tiny.ENCODERS.items() if not FAMILIES[e["model_type"]].attention_backends]
)
def test_eager_and_sdpa_agree(name: str) -> None:
    pixel_values = tiny.pixels(tiny.ENCODERS[name])
    outputs = []
    for backend in ("eager", "sdpa"):
        torch.manual_seed(3)
        tower = compose({"schema": 1, "encoder": tiny.ENCODERS[name], "attn_backend": backend})
        assert tower.attention.backend.value == backend
        with torch.no_grad():
            outputs.append(tower(pixel_values=pixel_values))
    assert (outputs[0] - outputs[1]).abs().max() <= 1e-5
