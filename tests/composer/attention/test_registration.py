"""The name by which transformers knows the chosen backend, and the functions it then has under it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from vision_composer import AttentionBackend, register_attention_backend
from vision_composer.attention import select_attn_backend
from vision_composer.attention.packed import register_packed_attention
from vision_composer.attention.registration import register_attention
from vision_composer.schemas import ATTENTION_BACKEND_PLUGINS

CPU = torch.device("cpu")


def plain(*_: Any, **__: Any) -> None:
    """An attention function that nothing calls."""


plain.packed = True  # type: ignore[attr-defined]  # how a backend says that it runs packed images


@pytest.fixture
def backend() -> Iterator[str]:
    name = "acme.plain"
    register_attention_backend(name, plain)
    yield name
    ATTENTION_BACKEND_PLUGINS.unregister(name)
    AttentionInterface._global_mapping.pop(name, None)
    AttentionMaskInterface._global_mapping.pop(name, None)


def test_a_backend_of_transformers_stays_its_own() -> None:
    own = AttentionInterface()["sdpa"], AttentionMaskInterface()["sdpa"]
    choice = select_attn_backend(64, torch.float32, CPU, override="sdpa")
    assert register_attention(choice, packed=False) == "sdpa"
    assert (AttentionInterface()["sdpa"], AttentionMaskInterface()["sdpa"]) == own


def test_a_plugins_backend_gets_masks_as_sdpa_does(backend: str) -> None:
    choice = select_attn_backend(64, torch.float32, CPU, override=backend)
    assert backend not in AttentionInterface().valid_keys()
    assert register_attention(choice, packed=False) == backend
    assert AttentionInterface()[backend] is plain
    assert AttentionMaskInterface()[backend] is sdpa_mask


def test_packed_images_go_by_another_name(backend: str) -> None:
    for override in ("eager", backend):
        choice = select_attn_backend(64, torch.float32, CPU, override=override, packed=True)
        name = register_attention(choice, packed=True)
        assert name == register_packed_attention(choice.backend)
        assert name != override
    assert backend not in AttentionInterface().valid_keys()
    assert register_packed_attention() == register_packed_attention(AttentionBackend.SDPA)
