"""What each backend needs, and what is said where that is missing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from support.gpus import FLASH_PACKAGES, pretend_packages
from torch import nn
from torch.nn import attention as torch_attention

from vision_composer.attention import AttentionBackend, requirements
from vision_composer.attention.backends import REQUIREMENTS
from vision_composer.attention.requirements import FlashPackage, Situation

EAGER, SDPA, VARLEN, FLEX, FLASH_2, FLASH_3, FLASH_4 = AttentionBackend
HOPPER = Situation("cuda", (9, 0), torch.bfloat16, 64)
ON_CPU = Situation("cpu", (0, 0), torch.float32, 64)


@pytest.mark.parametrize(
    ("backend", "changes", "obstacle"),
    [
        (FLASH_2, {"head_size": 320}, "needs a head size of 1 to 256, not 320"),
        (FLASH_2, {"head_size": 256}, None),
        (FLASH_2, {"head_size": 63, "packed": True}, None),
        (FLASH_3, {"head_size": 60}, "needs a head size that is a multiple of 8, not 60"),
        (FLASH_3, {"head_size": 60, "packed": True}, "needs a head size that is a multiple of 8, not 60"),
        (FLASH_4, {"head_size": 192, "packed": True}, "needs a head size of 1 to 128, not 192"),
        (VARLEN, {"head_size": 80, "packed": True}, None),
        (VARLEN, {"head_size": 84, "packed": True}, "needs a head size that is a multiple of 8, not 84"),
        (VARLEN, {}, "is for packed images; sdpa runs the same kernels on a batch"),
        (FLEX, {"head_size": 8, "packed": True}, "needs a head size of at least 16, not 8"),
        (FLEX, {"head_size": 16}, None),
        (FLASH_2, {"capability": (7, 5)}, "needs a GPU of compute capability at least 8, not 7.5"),
        (FLASH_2, {"capability": (8, 0)}, None),
        (FLASH_3, {"capability": (8, 6)}, "needs a GPU of compute capability 9, not 8.6"),
        (FLASH_4, {"capability": (8, 6)}, "needs a GPU of compute capability 9 to 10, not 8.6"),
        (FLASH_4, {"capability": (10, 3)}, None),
        (FLASH_3, {"dtype": torch.float32}, "needs float16 or bfloat16, not float32"),
        (FLASH_3, {"dtype": torch.float16}, None),
    ],
)
def test_a_gpu(
    backend: AttentionBackend,
    changes: dict[str, Any],
    obstacle: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_packages(monkeypatch, *FLASH_PACKAGES)
    assert REQUIREMENTS[backend].obstacle(replace(HOPPER, **changes)) == obstacle


@pytest.mark.parametrize(
    ("backend", "changes", "obstacle"),
    [
        (SDPA, {}, None),
        (FLASH_2, {}, "runs on CUDA, not on cpu"),
        (FLEX, {}, "is compiled for CUDA; on cpu it falls back to an unfused reference"),
        (FLEX, {"packed": True}, None),
        (FLEX, {"packed": True, "head_size": 8}, None),  # only compiled code has a smallest one
        (FLEX, {"packed": True, "training": True}, "has no backward pass on cpu"),
    ],
)
def test_a_cpu(backend: AttentionBackend, changes: dict[str, Any], obstacle: str | None) -> None:
    assert REQUIREMENTS[backend].obstacle(replace(ON_CPU, **changes)) == obstacle


def test_flex_attention_trains_on_a_gpu() -> None:
    assert REQUIREMENTS[FLEX].obstacle(replace(HOPPER, packed=True, training=True)) is None


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_packages(monkeypatch, "flash-attn-3")
    missing = "needs the flash-attn package, which is not installed"
    assert REQUIREMENTS[FLASH_2].obstacle(HOPPER) == missing
    assert REQUIREMENTS[FLASH_3].obstacle(HOPPER) is None


def test_two_distributions_of_one_module_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_packages(monkeypatch, "flash-attn")
    assert FlashPackage("flash-attn", "flash_attn").installed
    assert not FlashPackage("flash-attn-4", "flash_attn.cute").installed


def test_a_distribution_without_its_module_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_packages(monkeypatch, "flash-attn-4")
    looked_for: list[str] = []
    monkeypatch.setattr(requirements, "find_spec", looked_for.append)
    assert not FlashPackage("flash-attn-4", "flash_attn.cute").installed
    assert looked_for == ["flash_attn"]  # the whole name would import what it begins with


def test_torchs_switch_stands_for_the_package_where_images_are_packed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_packages(monkeypatch)
    monkeypatch.setattr(torch_attention, "current_flash_attention_impl", lambda: "FA3")
    assert REQUIREMENTS[FLASH_3].obstacle(replace(HOPPER, packed=True)) is None
    for backend, packed in ((FLASH_3, False), (FLASH_4, True), (FLASH_2, True)):
        obstacle = REQUIREMENTS[backend].obstacle(replace(HOPPER, packed=packed))
        assert obstacle is not None
        assert obstacle.endswith("which is not installed")


def test_what_transformers_class_declares() -> None:
    class Tower(nn.Module):
        _supports_sdpa = False

    assert REQUIREMENTS[SDPA].obstacle(replace(ON_CPU, model_class=Tower)) == (
        "is not supported by transformers' Tower"
    )
    Tower._supports_sdpa = True
    assert REQUIREMENTS[SDPA].obstacle(replace(ON_CPU, model_class=Tower)) is None
    assert REQUIREMENTS[EAGER].obstacle(replace(ON_CPU, model_class=nn.Module)) is None
