"""The choice of an attention backend, and that every backend computes the same."""

from __future__ import annotations

import importlib.metadata
from importlib.machinery import ModuleSpec
from typing import Any

import pytest
import torch
from support import tiny
from support.compare import assert_close
from torch import nn
from torch.nn import attention as torch_attention

from vision_composer import AttentionBackend, compose, get_vit_attn_backend, plan
from vision_composer.attention import requirements, select_attn_backend
from vision_composer.attention.backends import REQUIREMENTS
from vision_composer.encoders import FAMILIES
from vision_composer.errors import BackendError
from vision_composer.running.attention import plan_attention
from vision_composer.schemas import ATTN_BACKENDS

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
EAGER, SDPA, VARLEN, FLEX, FLASH_2, FLASH_3, FLASH_4 = AttentionBackend
HALF = torch.bfloat16


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that pretends: a GPU of some compute capability, and some packages."""
    find_distribution = importlib.metadata.version

    def pretend(major: int = 9, minor: int = 0, *, packages: tuple[str, ...] = ()) -> None:
        def version(name: str) -> str:
            if name.startswith("flash-attn") and name not in packages:
                raise importlib.metadata.PackageNotFoundError(name)
            return "9.9.9" if name.startswith("flash-attn") else find_distribution(name)

        monkeypatch.setattr(requirements, "version", version)
        monkeypatch.setattr(requirements, "find_spec", lambda name: ModuleSpec(name, None))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (major, minor))

    return pretend


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


ALL = ("flash-attn", "flash-attn-3", "flash-attn-4")


@pytest.mark.parametrize(
    ("capability", "packages", "packed", "chosen"),
    [
        ((7, 5), ALL, False, SDPA),
        ((7, 5), ALL, True, SDPA),
        ((8, 0), ALL, False, SDPA),
        ((8, 0), ALL, True, VARLEN),
        ((8, 0), (), True, VARLEN),
        ((9, 0), (), False, SDPA),
        ((9, 0), (), True, VARLEN),
        ((9, 0), ("flash-attn",), True, VARLEN),
        ((9, 0), ALL, False, FLASH_3),
        ((9, 0), ALL, True, FLASH_3),
        ((9, 0), ("flash-attn-4",), True, FLASH_4),
        ((10, 0), ALL, False, FLASH_4),
        ((10, 0), ("flash-attn-3",), True, VARLEN),
        ((12, 0), ALL, True, VARLEN),
    ],
)
def test_what_a_gpu_gets(
    capability: tuple[int, int], packages: tuple[str, ...], packed: bool, chosen: AttentionBackend, gpu: Any
) -> None:
    gpu(*capability, packages=packages)
    choice = select_attn_backend(64, HALF, CUDA, packed=packed)
    assert choice.backend is chosen
    assert choice.working[0] is chosen
    assert choice.note == ""
    # Nothing but sdpa and those behind it for float32.
    assert select_attn_backend(64, torch.float32, CUDA, packed=packed).backend is SDPA


@pytest.mark.parametrize(
    ("backend", "head_size", "packed", "obstacle"),
    [
        (FLASH_2, 320, False, "needs a head size of 1 to 256, not 320"),
        (FLASH_2, 63, True, None),
        (FLASH_3, 60, False, "needs a head size that is a multiple of 8, not 60"),
        (FLASH_3, 60, True, "needs a head size that is a multiple of 8, not 60"),
        (FLASH_4, 192, True, "needs a head size of 1 to 128, not 192"),
        (VARLEN, 80, True, None),
        (VARLEN, 84, True, "needs a head size that is a multiple of 8, not 84"),
        (VARLEN, 64, False, "is for packed images; sdpa runs the same kernels on a batch"),
        (FLEX, 8, True, "needs a head size of at least 16, not 8"),
        (FLEX, 16, False, None),
    ],
)
def test_head_sizes_and_layouts(
    backend: AttentionBackend, head_size: int, packed: bool, obstacle: str | None, gpu: Any
) -> None:
    gpu(9, packages=ALL)
    choice = select_attn_backend(head_size, HALF, CUDA, packed=packed)
    assert (backend in choice.working) == (obstacle is None)
    if obstacle:
        assert choice.passed_over[backend] == obstacle
        with pytest.raises(BackendError, match=f"{backend.value} {obstacle}; these work here: .*sdpa"):
            select_attn_backend(head_size, HALF, CUDA, packed=packed, override=backend)
    else:
        asked = select_attn_backend(head_size, HALF, CUDA, packed=packed, override=backend.value)
        assert (asked.backend, asked.reason) == (backend, "asked for")
        assert asked.passed_over[SDPA] == f"{backend.value} was asked for"


def test_reasons_of_a_gpu(gpu: Any) -> None:
    gpu(8, 6)
    passed_over = select_attn_backend(64, HALF, CUDA).passed_over
    assert passed_over[FLASH_2] == "needs the flash-attn package, which is not installed"
    assert passed_over[FLASH_3] == "needs a GPU of compute capability 9, not 8.6"
    assert passed_over[FLASH_4] == "needs a GPU of compute capability 9 to 10, not 8.6"
    gpu(7, 5, packages=ALL)
    assert select_attn_backend(64, HALF, CUDA).passed_over[FLASH_2] == (
        "needs a GPU of compute capability at least 8, not 7.5"
    )
    gpu(9, packages=ALL)
    assert select_attn_backend(64, torch.float32, CUDA).passed_over[FLASH_3] == (
        "needs float16 or bfloat16, not float32"
    )


def test_torchs_switch_stands_for_the_package_where_images_are_packed(
    gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu(9)
    monkeypatch.setattr(torch_attention, "current_flash_attention_impl", lambda: "FA3")
    assert select_attn_backend(64, HALF, CUDA, packed=True).backend is FLASH_3
    assert select_attn_backend(64, HALF, CUDA, packed=False).backend is SDPA


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


@pytest.mark.parametrize("name", [*tiny.ENCODERS, *tiny.PACKED])
def test_the_best_backend_of_every_family_is_not_refused_by_transformers(name: str, gpu: Any) -> None:
    gpu(9, packages=ALL)
    encoder = {**tiny.ENCODERS, **tiny.PACKED}[name]
    planned = plan({"schema": 1, "encoder": encoder, "weights": {"dtype": "bfloat16"}})
    family = FAMILIES[encoder["model_type"]]
    model_class = family.transformers_class(family.transformers_config(planned.encoder, 1, head=False))
    wanted = FLASH_3 if planned.info.packed or model_class._supports_flash_attn else SDPA
    if planned.info.head_size % 8:
        wanted = SDPA
    if family.attention_backends:
        wanted = AttentionBackend(family.attention_backends[0])
    assert plan_attention(planned, CUDA).backend is wanted


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
