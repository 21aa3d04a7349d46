"""The operator for packed attention: against a dense mask, by torch's own checks, and in compiled blocks."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func
from hypothesis import given, settings
from hypothesis import strategies as st
from support import tiny
from support.compare import OP_ULPS, assert_close, assert_gradients_close
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from torch._inductor.utils import get_first_incompatible_cudagraph_node
from torch.library import opcheck
from torch.nn.functional import scaled_dot_product_attention

from vision_composer import compose
from vision_composer.attention import packed_op
from vision_composer.attention.packed_op import (
    attend_in_groups,
    packed_attention_backward_op,
    packed_attention_op,
)
from vision_composer.attention.segments import Segments

SCALE = 0.3
LENGTHS = [[3, 5, 3], [4, 4], [2, 7], [1], [1, 1, 6, 1]]


def tensors(lengths: list[int], *, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """Query, key, value, and a gradient of the output."""
    generator = torch.Generator().manual_seed(sum(lengths))
    return torch.randn(4, sum(lengths), 2, 8, generator=generator).to(dtype).unbind()


def under_a_dense_mask(query: Tensor, key: Tensor, value: Tensor, lengths: list[int]) -> Tensor:
    owner = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    q, k, v = (tensor.transpose(0, 1) for tensor in (query, key, value))
    mask = owner[:, None] == owner[None, :]
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=SCALE).transpose(0, 1)


def arguments(lengths: list[int], *, dropout: float = 0.0, eager: bool = False) -> tuple[Any, ...]:
    """What the operator takes behind query, key and value."""
    segments = Segments(lengths)
    seed = torch.tensor(5) if dropout else None
    return segments.groups, segments.order, segments.inverse, SCALE, dropout, seed, eager


@given(st.lists(st.integers(1, 6), min_size=1, max_size=9), st.booleans())
@settings(max_examples=60, deadline=None)
def test_output_and_gradients_are_those_under_a_dense_mask(lengths: list[int], eager: bool) -> None:
    query, key, value, grad = tensors(lengths)
    inputs = [tensor.clone().requires_grad_() for tensor in (query, key, value)]
    want = under_a_dense_mask(*inputs, lengths)
    want_grads = torch.autograd.grad(want, inputs, grad)
    for got in (
        packed_attention_op(*inputs, *arguments(lengths, eager=eager)),
        attend_in_groups(*inputs, Segments(lengths), scale=SCALE, eager=eager),
    ):
        assert_close(got, want, ulps=OP_ULPS)
        # On one scale: of a segment of one token, the gradients of query and key are zero by algebra.
        got_grads = torch.autograd.grad(got, inputs, grad)
        assert_gradients_close([torch.cat(got_grads)], [torch.cat(want_grads)])


@pytest.mark.parametrize("eager", [False, True])
def test_gradients_where_few_weights_are_held_at_once(eager: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = [3, 5, 3, 3, 3]
    inputs = [tensor.clone().requires_grad_() for tensor in tensors(lengths)[:3]]
    grad = tensors(lengths)[3]
    want = torch.autograd.grad(under_a_dense_mask(*inputs, lengths), inputs, grad)
    monkeypatch.setattr(packed_op, "_MOST_WEIGHTS", 40)  # two segments of three tokens, one of five
    output = packed_attention_op(*inputs, *arguments(lengths, eager=eager))
    assert_gradients_close(torch.autograd.grad(output, inputs, grad), want)


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_gradients_by_rules_equal_those_of_the_kernel(lengths: list[int]) -> None:
    tables = arguments(lengths)
    query, key, value, grad = tensors(lengths)
    by_kernel = packed_attention_backward_op(grad, query, key, value, *tables)
    by_rules = packed_attention_backward_op(grad, query, key, value, *tables[:-1], True)
    assert_gradients_close(by_rules, by_kernel)


@pytest.mark.parametrize(
    ("dropout", "dtype"), [(0.0, torch.float32), (0.0, torch.bfloat16), (0.4, torch.float32)], ids=str
)
@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("lengths", [LENGTHS[0], pytest.param(LENGTHS[1], marks=pytest.mark.slow)], ids=str)
def test_opcheck(lengths: list[int], eager: bool, dropout: float, dtype: torch.dtype) -> None:
    *inputs, grad = tensors(lengths, dtype=dtype)
    rest = arguments(lengths, dropout=dropout, eager=eager)
    opcheck(packed_attention_op, (*(t.clone().requires_grad_() for t in inputs), *rest))
    opcheck(packed_attention_backward_op, (grad, *inputs, *rest))


@pytest.mark.parametrize("lengths", [[6, 3, 6], [4, 4]], ids=str)
def test_dropout_drops_the_same_weights_forth_and_back(lengths: list[int]) -> None:
    *inputs, grad = tensors(lengths)
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]
    state = torch.random.get_rng_state()
    output = packed_attention_op(*inputs, *arguments(lengths, dropout=0.5))
    got = torch.autograd.grad(output, inputs, grad)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(5)
    want = attend_in_groups(*inputs, Segments(lengths), scale=SCALE, dropout=0.5, eager=True)
    assert torch.equal(output, want)
    assert not torch.allclose(output, under_a_dense_mask(*inputs, lengths))
    assert_gradients_close(got, torch.autograd.grad(want, inputs, grad))


# --- in blocks ----------------------------------------------------------------------------------------

GRIDS = [
    [(1, 2, 3), (1, 5, 7), (1, 1, 4), (1, 2, 3)],
    [(1, 3, 3)] * 3,
    [(1, 2, 2)],
    [(3, 2, 2), (1, 7, 1), (4, 1, 5)],
    [(1, 1, k) for k in range(2, 9)],
]


def batch(encoder: Any, grids: list[tuple[int, int, int]]) -> dict[str, Tensor]:
    info = encoder.info
    generator = torch.Generator().manual_seed(1)
    if info.model_type == "pixtral":
        sizes = torch.tensor(
            [(rows * info.patch_size, columns * info.patch_size) for _, rows, columns in grids]
        )
        pixels = torch.randn(len(grids), 3, *sizes.amax(0).tolist(), generator=generator)
        return {"pixel_values": pixels, "image_sizes": sizes}
    grid_thw = torch.tensor(grids) * torch.tensor([1, info.merge_size, info.merge_size])
    values = 3 * info.temporal_patch_size * info.patch_size**2
    pixels = torch.randn(int(grid_thw.prod(1).sum()), values, generator=generator)
    return {"pixel_values": pixels, "image_grid_thw": grid_thw}


class Graphs:
    """A compiler that runs what it is given as it stands, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        self.count += 1
        return graph.forward


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        *((name, "sdpa") for name in ("pixtral", "qwen2_vl_vision")),
        pytest.param("qwen2_5_vl_vision", "sdpa", marks=pytest.mark.slow),
        pytest.param("qwen2_5_vl_vision", "eager", marks=pytest.mark.slow),
        pytest.param("qwen2_5_vl_vision", "flex_attention", marks=pytest.mark.slow),
    ],
)
def test_a_block_traces_whole_and_once_for_all_layouts(name: str, backend: str) -> None:
    torch._dynamo.reset()
    keys = {"schema": 1, "encoder": tiny.PACKED[name], "attn_backend": backend}
    plain, compiled = compose(keys), compose(keys)
    compiled.load_state_dict(plain.state_dict())
    graphs = Graphs()
    for block in compiled.blocks:
        block.compile(fullgraph=True, dynamic=True, backend=graphs)
    for grids in GRIDS:
        inputs = batch(plain, grids)
        with torch.no_grad():
            got, want = torch.cat(compiled(**inputs)), torch.cat(plain(**inputs))
        assert_close(got, want)
    # Of all blocks, too; those of Qwen2.5-VL are of two kinds, with other segments.
    kinds = 2 if name == "qwen2_5_vl_vision" else 1
    # A mask of one block (up to 128 tokens) has sizes of 1, which torch.compile always takes for constants.
    assert graphs.count <= kinds * (2 if backend == "flex_attention" else 1)


@pytest.mark.parametrize(
    "operator", [packed_attention_op, packed_attention_backward_op], ids=["forth", "back"]
)
def test_torch_is_told_that_a_cuda_graph_cannot_hold_them(operator: Any) -> None:
    assert torch.Tag.cudagraph_unsafe in operator._opoverload.tags


@pytest.mark.slow
@pytest.mark.parametrize("training", [False, True])
def test_inductor_records_no_cuda_graph_of_the_operators(training: bool) -> None:
    """Its own check finds them in the graphs that it is given: a replay would keep the first lengths."""
    torch._dynamo.reset()
    encoder = compose({"schema": 1, "encoder": tiny.PACKED["pixtral"], "select_layers": [1]})
    found: list[str] = []

    def look(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        node = get_first_incompatible_cudagraph_node(graph)
        found.append(str(node and node.target))
        return make_boxed_func(graph.forward)

    for block in encoder.blocks:
        block.compile(fullgraph=True, dynamic=True, backend=aot_autograd(fw_compiler=look, bw_compiler=look))
    with torch.set_grad_enabled(training):
        features = torch.cat(encoder(**batch(encoder, GRIDS[0])))
    if training:
        features.sum().backward()
    assert [name.removeprefix("vision_composer.") for name in found] == [
        "packed_attention.default",
        *["packed_attention_backward.default"] * training,
    ]


@pytest.mark.slow
def test_compiled_blocks_train_alike() -> None:
    torch._dynamo.reset()
    encoder = tiny.PACKED["qwen2_5_vl_vision"]
    plain = compose({"schema": 1, "encoder": encoder, "select_layers": [1]}).train()
    compiled = copy.deepcopy(plain)
    for block in compiled.blocks:
        block.compile(fullgraph=True, dynamic=True, backend="aot_eager")
    for grids in GRIDS[:2]:
        inputs = batch(plain, grids)
        grads = []
        for tower in (plain, compiled):
            tower.zero_grad()
            torch.cat(tower(**inputs)).square().mean().backward()
            grads.append([parameter.grad for parameter in tower.parameters()])
        assert_gradients_close(grads[1], grads[0])
