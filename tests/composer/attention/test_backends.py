"""The choice of an attention backend, and that every backend computes the same."""

from __future__ import annotations

import pytest
import torch
from support import tiny
from support.compare import assert_close
from support.gpus import FLASH_PACKAGES, pretend_gpu
from torch import nn
from torch.nn import attention as torch_attention

from vision_composer import AttentionBackend, compose, get_vit_attn_backend
from vision_composer.attention import select_attn_backend
from vision_composer.attention.backends import REQUIREMENTS
from vision_composer.encoders import FAMILIES
from vision_composer.errors import BackendError
from vision_composer.schemas import ATTN_BACKENDS

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
EAGER, SDPA, VARLEN, FLEX, FLASH_2, FLASH_3, FLASH_4 = AttentionBackend
HALF = torch.bfloat16


def test_the_schema_and_the_registry_know_the_same_names() -> None:
    assert set(ATTN_BACKENDS) == {backend.value for backend in AttentionBackend}
    assert set(REQUIREMENTS) == set(AttentionBackend)


@pytest.mark.parametrize("packed", [False, True])
def test_on_cpu_sdpa_is_chosen_and_the_rest_is_explained(packed: bool) -> None:
    choice = select_attn_backend(64, torch.float32, CPU, packed=packed)
    assert choice.backend is SDPA
    assert set(choice.passed_over) == set(AttentionBackend) - {SDPA}
    for backend in (FLASH_2, FLASH_3, FLASH_4):
        assert choice.passed_over[backend] == "runs on CUDA, not on cpu"
    assert choice.passed_over[EAGER] == "sdpa is preferred"
    assert choice.working == ((SDPA, FLEX, EAGER) if packed else (SDPA, EAGER))
    assert choice.note == ""


@pytest.mark.parametrize(
    ("capability", "packages", "packed", "chosen"),
    [
        ((7, 5), FLASH_PACKAGES, False, SDPA),
        ((7, 5), FLASH_PACKAGES, True, SDPA),
        ((8, 0), FLASH_PACKAGES, False, SDPA),
        ((8, 0), FLASH_PACKAGES, True, VARLEN),
        ((8, 0), (), True, VARLEN),
        ((9, 0), (), False, SDPA),
        ((9, 0), (), True, VARLEN),
        ((9, 0), ("flash-attn",), True, VARLEN),
        ((9, 0), FLASH_PACKAGES, False, FLASH_3),
        ((9, 0), FLASH_PACKAGES, True, FLASH_3),
        ((9, 0), ("flash-attn-4",), True, VARLEN),
        ((9, 0), ("flash-attn-4",), False, FLASH_4),
        ((10, 0), FLASH_PACKAGES, False, FLASH_4),
        ((10, 0), ("flash-attn-3",), True, VARLEN),
        ((10, 0), FLASH_PACKAGES, True, VARLEN),
        ((12, 0), FLASH_PACKAGES, True, VARLEN),
    ],
)
def test_what_a_gpu_gets(
    capability: tuple[int, int],
    packages: tuple[str, ...],
    packed: bool,
    chosen: AttentionBackend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_gpu(monkeypatch, *capability, packages=packages)
    choice = select_attn_backend(64, HALF, CUDA, packed=packed)
    assert choice.backend is chosen
    assert choice.working[0] is chosen
    assert choice.note == ""
    # Nothing but sdpa and those behind it for float32.
    assert select_attn_backend(64, torch.float32, CUDA, packed=packed).backend is SDPA


def test_a_function_that_is_no_operator_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpu(monkeypatch, 10, packages=FLASH_PACKAGES)
    choice = select_attn_backend(64, HALF, CUDA, compiled=True)
    assert choice.backend is SDPA
    assert choice.passed_over[FLASH_4] == "is no operator of torch, so torch.compile cannot trace it"
    with pytest.raises(BackendError, match="flash_attention_4 is no operator of torch"):
        select_attn_backend(64, HALF, CUDA, override=FLASH_4, packed=True, compiled=True)
    monkeypatch.setattr(torch_attention, "current_flash_attention_impl", lambda: "FA4")
    choice = select_attn_backend(64, HALF, CUDA, override=FLASH_4, packed=True, compiled=True)
    assert choice.backend is FLASH_4


def test_what_is_asked_for_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpu(monkeypatch, packages=FLASH_PACKAGES)
    choice = select_attn_backend(64, HALF, CUDA, override="flash_attention_2")
    assert (choice.backend, choice.reason) == (FLASH_2, "asked for")
    assert choice.passed_over[SDPA] == "flash_attention_2 was asked for"
    with pytest.raises(BackendError, match="2 needs a head size of 1 to 256, not 320; these work here: sdpa"):
        select_attn_backend(320, HALF, CUDA, override=FLASH_2)


def test_a_gpu_that_is_not_here_is_assumed_to_be_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    choice = select_attn_backend(64, HALF, torch.device("cuda:1"), packed=True)
    assert choice.backend is VARLEN
    assert choice.note.startswith("cuda:1 is not in this machine; compute capability 8.0")


def test_training() -> None:
    assert FLEX in select_attn_backend(64, torch.float32, CPU, packed=True).working
    trained = select_attn_backend(64, torch.float32, CPU, packed=True, training=True)
    assert trained.passed_over[FLEX] == "has no backward pass on cpu"


def test_what_transformers_class_supports_counts_for_a_batch() -> None:
    class Tower(nn.Module):
        _supports_sdpa = False

    choice = select_attn_backend(64, torch.float32, CPU, model_class=Tower)
    assert choice.backend is EAGER
    assert choice.passed_over[SDPA] == "is not supported by transformers' Tower"
    assert select_attn_backend(64, torch.float32, CPU, packed=True, model_class=Tower).backend is SDPA


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
    assert_close(outputs[1], outputs[0])


def test_the_seed_function_asks_torchs_default_device() -> None:
    before = torch.get_default_device()
    torch.set_default_device("meta")
    try:
        with pytest.raises(BackendError, match="runs on CUDA, not on meta"):
            get_vit_attn_backend(64, torch.float16, attn_backend_override=AttentionBackend.FLASH_ATTENTION_2)
    finally:
        torch.set_default_device(before)
