"""Backends of packed attention: what they compute, and what reaches kernels that need a GPU."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest
import torch
from support import tiny
from support.compare import OP_ULPS, assert_close
from torch import Tensor
from torch.nn import attention as torch_attention
from torch.nn.functional import scaled_dot_product_attention

from vision_composer import AttentionBackend, compose, register_attention_backend
from vision_composer.attention import packed_kernels, requirements
from vision_composer.attention.packed import register_packed_attention
from vision_composer.attention.packed_kernels import packed_kernel
from vision_composer.attention.segments import Segments
from vision_composer.errors import BackendError
from vision_composer.schemas import ATTENTION_BACKEND_PLUGINS

SCALE = 0.3
FLASH = {
    AttentionBackend.FLASH_ATTENTION_2: "flash_attn",
    AttentionBackend.FLASH_ATTENTION_3: "flash_attn_interface",
    AttentionBackend.FLASH_ATTENTION_4: "flash_attn.cute",
}
CALLS: list[dict[str, Any]] = []


def loop(query: Tensor, key: Tensor, value: Tensor, ends: Tensor, scale: float) -> Tensor:
    """Attention segment by segment, on (tokens, heads, head_size)."""
    outputs = []
    for start, stop in zip(ends.tolist(), ends.tolist()[1:], strict=False):
        q, k, v = (tensor[start:stop].transpose(0, 1) for tensor in (query, key, value))
        outputs.append(scaled_dot_product_attention(q, k, v, scale=scale).transpose(0, 1))
    return torch.cat(outputs)


def check(ends: Tensor, longest: int, query: Tensor) -> None:
    """What every kernel of variable length wants."""
    assert ends.dtype == torch.int32
    assert ends.device == query.device
    assert longest == ends.diff().max()
    assert query.dim() == 3
    assert query.stride(-1) == 1


def varlen_attn(  # the signature of torch 2.11, of which later ones are extensions
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    return_aux: Any = None,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
) -> Tensor:
    check(cu_seq_q, max_q, query)
    assert torch.equal(cu_seq_q, cu_seq_k)
    assert (max_q, return_aux, window_size) == (max_k, None, (-1, -1))
    assert scale is not None
    CALLS.append({"kernel": "varlen"})
    return loop(query, key, value, cu_seq_q, scale)


def flash_module(name: str) -> ModuleType:
    """A stand-in for a flash-attention package."""
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)  # which transformers looks for when it is imported

    def flash_attn_varlen_func(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        cu_seqlens_q: Tensor,
        cu_seqlens_k: Tensor,
        max_seqlen_q: int,
        max_seqlen_k: int,
        softmax_scale: float,
        causal: bool,
        **more: Any,
    ) -> Any:
        check(cu_seqlens_q, max_seqlen_q, q)
        assert torch.equal(cu_seqlens_q, cu_seqlens_k)
        assert (max_seqlen_q, causal) == (max_seqlen_k, False)
        CALLS.append({"kernel": name, **more})
        output = loop(q, k, v, cu_seqlens_q, softmax_scale)
        return (output, None) if name == "flash_attn.cute" else output  # as flash-attn-4 does

    module.flash_attn_varlen_func = flash_attn_varlen_func  # type: ignore[attr-defined]
    return module


@pytest.fixture
def gpu_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for all of them, which compute on the CPU."""
    CALLS.clear()
    monkeypatch.setattr(packed_kernels, "varlen_attn", varlen_attn)
    for name in FLASH.values():
        monkeypatch.setitem(sys.modules, name, flash_module(name))


@pytest.fixture
def all_work(gpu_kernels: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stands in the way of any backend."""
    monkeypatch.setattr(requirements.Requirements, "obstacle", lambda *_: None)


LENGTHS = [[3, 5, 3], [4, 4], [1], [100, 200, 128, 3, 200, 1], [128, 128], [256, 5]]


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("backend", AttentionBackend, ids=lambda backend: backend.value)
@pytest.mark.usefixtures("gpu_kernels")
def test_every_backend_attends_inside_segments(backend: AttentionBackend, lengths: list[int]) -> None:
    segments = Segments(lengths)
    query, key, value = torch.randn(3, sum(lengths), 2, 16, generator=torch.Generator().manual_seed(0))
    got = packed_kernel(backend)(query, key, value, segments, scale=SCALE, dropout=0.0)
    want = loop(query, key, value, segments.cu_seqlens, SCALE)
    assert_close(got, want, ulps=OP_ULPS)


@pytest.mark.parametrize("backend", list(AttentionBackend), ids=lambda backend: backend.value)
@pytest.mark.parametrize("name", ["pixtral", "qwen2_5_vl_vision"])
@pytest.mark.usefixtures("all_work")
def test_a_tower_on_every_backend(name: str, backend: AttentionBackend) -> None:
    outputs = []
    for attn_backend in ("sdpa", backend.value):
        torch.manual_seed(3)
        tower = compose({"schema": 1, "encoder": tiny.PACKED[name], "attn_backend": attn_backend})
        assert tower.attention.implementation == attn_backend
        generator = torch.Generator().manual_seed(1)
        if name == "pixtral":
            sizes = torch.tensor([[16, 24], [8, 32], [16, 24]])
            inputs = {"pixel_values": torch.randn(3, 3, 16, 32, generator=generator), "image_sizes": sizes}
        else:
            grid = torch.tensor([[1, 6, 10], [2, 4, 4]])
            inputs = {"pixel_values": torch.randn(92, 96, generator=generator), "image_grid_thw": grid}
        with torch.no_grad():
            outputs.append(torch.cat(tower(**inputs)))
    assert_close(outputs[1], outputs[0])
    kernels = {call["kernel"] for call in CALLS}
    assert kernels == {FLASH.get(backend, backend.value)} - {"sdpa", "eager", "flex_attention"}


@pytest.mark.parametrize("backend", [AttentionBackend.FLASH_ATTENTION_3, AttentionBackend.FLASH_ATTENTION_4])
@pytest.mark.usefixtures("gpu_kernels")
def test_torchs_own_switch_is_used_where_it_is_set(
    backend: AttentionBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = backend.value[-1]
    monkeypatch.setattr(torch_attention, "current_flash_attention_impl", lambda: f"FA{number}")
    query, key, value = torch.randn(3, 7, 2, 16)
    segments = Segments([3, 4])
    got = packed_kernel(backend)(query, key, value, segments, scale=SCALE)
    assert CALLS == [{"kernel": "varlen"}]
    assert_close(got, loop(query, key, value, segments.cu_seqlens, SCALE), ulps=OP_ULPS)
    other = next(flash for flash in FLASH if flash not in (backend, AttentionBackend.FLASH_ATTENTION_2))
    packed_kernel(other)(query, key, value, segments, scale=SCALE)
    assert CALLS[1]["kernel"] == FLASH[other]


@pytest.fixture
def compiled_flex(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """flex_attention as it is compiled on a GPU, by a backend that runs what it is given."""
    torch._dynamo.reset()
    packed_kernels._compiled_flex.cache_clear()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    yield
    packed_kernels._compiled_flex.cache_clear()


def fused_flex(heads: int, head_size: int) -> None:
    """Attention over two segments, compared with the loop."""
    generator = torch.Generator().manual_seed(head_size)
    query, key, value = torch.randn(3, 7, heads, head_size, generator=generator)
    segments = Segments([3, 4])
    q, k, v = (tensor.transpose(0, 1).unsqueeze(0) for tensor in (query, key, value))
    got = packed_kernels._fused_flex(q, k, v, segments.block_mask, SCALE)[0].transpose(0, 1)
    assert_close(got, loop(query, key, value, segments.cu_seqlens, SCALE), ulps=OP_ULPS)


@pytest.mark.usefixtures("compiled_flex")
def test_kinds_of_flex_attention_share_no_limit_on_recompilations() -> None:
    with torch._dynamo.config.patch(recompile_limit=1), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for heads, head_size in ((2, 8), (2, 16), (4, 8)):
            fused_flex(heads, head_size)


@pytest.mark.usefixtures("compiled_flex")
def test_flex_attention_says_when_it_runs_uncompiled() -> None:
    with torch._dynamo.config.patch(recompile_limit=1):
        with torch.no_grad():
            fused_flex(2, 8)
        with pytest.warns(UserWarning, match="flex_attention runs uncompiled and holds all products"):
            fused_flex(2, 8)


@pytest.mark.usefixtures("gpu_kernels")
def test_dropout_is_handed_on_or_refused_but_never_lost() -> None:
    query, key, value = torch.randn(3, 7, 2, 16)
    segments = Segments([3, 4])
    drops = (AttentionBackend.SDPA, AttentionBackend.EAGER)
    for backend in AttentionBackend:
        kernel = packed_kernel(backend)
        if backend is AttentionBackend.FLASH_ATTENTION_2:
            kernel(query, key, value, segments, scale=SCALE, dropout=0.25)
            assert CALLS[-1]["dropout_p"] == 0.25
        elif backend in drops:
            got = kernel(query, key, value, segments, scale=SCALE, dropout=0.5)
            assert not torch.allclose(got, loop(query, key, value, segments.cu_seqlens, SCALE))
        else:
            with pytest.raises(BackendError, match=f"{backend.value} has no dropout.*sdpa or eager"):
                kernel(query, key, value, segments, scale=SCALE, dropout=0.25)


@pytest.mark.parametrize("backend", list(FLASH), ids=lambda backend: backend.value)
def test_a_package_that_cannot_be_imported(
    backend: AttentionBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, FLASH[backend], None)
    monkeypatch.setitem(sys.modules, FLASH[backend].partition(".")[0], None)
    with pytest.raises(BackendError, match=f"{backend.value} cannot be imported"):
        register_packed_attention(backend)


# --- backends of plugins ------------------------------------------------------------------------------


def by_segments(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    cu_seqlens: Tensor,
    max_seqlen: int,
    scaling: float,
    **_: Any,
) -> tuple[Tensor, None]:
    assert attention_mask is None
    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    check(cu_seqlens, max_seqlen, q)
    CALLS.append({"kernel": "plugin"})
    return loop(q, k, v, cu_seqlens, scaling).unsqueeze(0), None


@pytest.mark.parametrize("name", ["acme.segments", "acme.sdpa.flex_attention"])
def test_a_registered_backend_runs_packed_images_if_it_says_so(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    CALLS.clear()
    register_attention_backend(name, by_segments)
    try:
        encoder = tiny.PACKED["qwen2_vl_vision"]
        with pytest.raises(BackendError, match=rf"{name}.*no attribute packed = True; these work here: sdpa"):
            compose({"schema": 1, "encoder": encoder, "attn_backend": name})
        monkeypatch.setattr(by_segments, "packed", True, raising=False)
        outputs = []
        inputs = {"pixel_values": torch.randn(24, 96), "image_grid_thw": torch.tensor([[2, 2, 4], [1, 4, 2]])}
        for backend in ("sdpa", name):
            torch.manual_seed(0)
            tower = compose({"schema": 1, "encoder": encoder, "attn_backend": backend})
            with torch.no_grad():
                outputs.append(torch.cat(tower(**inputs)))
        assert tower.attention.backend == name
        assert len(CALLS) == len(tower.blocks)
        assert_close(outputs[1], outputs[0])
    finally:
        ATTENTION_BACKEND_PLUGINS.unregister(name)


def test_names_in_transformers_do_not_stand_for_anything_there() -> None:
    kernels = [backend for backend in AttentionBackend if backend not in FLASH]
    names = [register_packed_attention(backend) for backend in kernels]
    assert len(set(names)) == len(kernels)
    assert not [name for name in names for word in ("flash", "sdpa", "flex_attention") if word in name]
