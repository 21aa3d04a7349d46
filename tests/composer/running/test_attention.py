"""The attention backend of a planned tower: that of its config and its family, for its sizes and dtype."""

from __future__ import annotations

import pytest
import torch
from support import tiny
from support.gpus import FLASH_PACKAGES, pretend_gpu

from vision_composer import AttentionBackend, plan
from vision_composer.encoders import FAMILIES
from vision_composer.errors import BackendError
from vision_composer.running.attention import plan_attention

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SDPA, FLASH_3 = AttentionBackend.SDPA, AttentionBackend.FLASH_ATTENTION_3


@pytest.mark.parametrize("name", [*tiny.ENCODERS, *tiny.PACKED])
def test_the_best_backend_of_every_family_is_not_refused_by_transformers(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_gpu(monkeypatch, packages=FLASH_PACKAGES)
    encoder = {**tiny.ENCODERS, **tiny.PACKED}[name]
    planned = plan({"schema": 1, "encoder": encoder, "weights": {"dtype": "bfloat16"}})
    family = FAMILIES[encoder["model_type"]]
    model_class = family.transformers_class(family.transformers_config(planned.encoder, 1, head=False))
    wanted = FLASH_3 if planned.info.packed or model_class._supports_flash_attn else SDPA
    if planned.info.head_size % 8:
        wanted = SDPA
    if family.attention_backends:
        wanted = AttentionBackend(family.attention_backends[0])
    choice = plan_attention(planned, CUDA)
    assert choice.backend is wanted
    if family.attention_backends:
        assert choice.reason.endswith(" only")


@pytest.mark.parametrize(
    ("dtype", "num_heads", "backend"),
    [("bfloat16", 4, FLASH_3), ("float32", 4, SDPA), ("bfloat16", 8, SDPA)],
)
def test_the_dtype_and_the_width_of_a_head_count(
    dtype: str, num_heads: int, backend: AttentionBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_gpu(monkeypatch, packages=FLASH_PACKAGES)
    encoder = tiny.PACKED["pixtral"] | {"num_attention_heads": num_heads}
    planned = plan({"schema": 1, "encoder": encoder, "weights": {"dtype": dtype}})
    assert plan_attention(planned, CUDA).backend is backend


def test_what_the_config_names_is_taken_or_refused() -> None:
    keys = {"schema": 1, "encoder": tiny.PACKED["pixtral"], "attn_backend": "flex_attention"}
    choice = plan_attention(plan(keys), CPU)
    assert (choice.backend, choice.reason) == (AttentionBackend.FLEX_ATTENTION, "asked for")
    with pytest.raises(BackendError, match="flex_attention has no backward pass on cpu"):
        plan_attention(plan(keys), CPU, training=True)
