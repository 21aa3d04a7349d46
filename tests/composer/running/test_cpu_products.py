"""The pass over traced graphs against the graphs before it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from support.compare import OP_ULPS, assert_close, assert_gradients_close
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.functional import linear

from vision_composer.running.cpu_products import MeasuredProducts, PlainProducts
from vision_composer.running.products import MKL, ONEDNN, Product

aten = torch.ops.aten


def _traced(function: Any, *inputs: Any, mode: str = "fake") -> GraphModule:
    return make_fx(function, tracing_mode=mode)(*inputs)


def _targets(graph: GraphModule) -> list[object]:
    return [node.target for node in graph.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize("features", [1, 8, 3420])
def test_a_bias_is_added_after_the_product(features: int) -> None:
    inputs = (torch.randn(5, 6), torch.randn(features, 6), torch.randn(features))
    before = _traced(linear, *inputs)
    after = copy.deepcopy(before)
    PlainProducts()(after.graph)
    after.recompile()
    after.graph.lint()
    assert aten.addmm.default in _targets(before)
    assert _targets(after)[-2:] == [aten.mm.default, aten.add.Tensor]
    assert_close(after(*inputs), before(*inputs), ulps=OP_ULPS)


@pytest.mark.parametrize(
    ("function", "inputs"),
    [
        (linear, [torch.randn(4, 4)[:rows].bfloat16().squeeze() for rows in (4, 4, 1)]),
        (lambda b, x, w: torch.addmm(b, x, w, alpha=2), (torch.randn(5), *torch.randn(2, 5, 5).unbind())),
        (torch.addmm, torch.randn(3, 5, 5).unbind()),
        (torch.mm, torch.randn(2, 5, 5).unbind()),
    ],
    ids=["bfloat16", "scaled", "no bias but a matrix", "nothing added"],
)
def test_other_products_stay_as_they_are(function: Any, inputs: tuple[torch.Tensor, ...]) -> None:
    graph = _traced(function, *inputs)
    before = str(graph.graph)
    PlainProducts()(graph.graph)
    assert str(graph.graph) == before


def test_a_product_may_be_added_to_another() -> None:
    def chain(x: torch.Tensor, w: torch.Tensor, y: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return torch.addmm(torch.addmm(x @ w, y, v), y, v)

    inputs = (torch.randn(4, 3), torch.randn(3, 5), torch.randn(4, 2), torch.randn(2, 5))
    graph = _traced(chain, *inputs)
    PlainProducts()(graph.graph)
    graph.recompile()
    assert_close(graph(*inputs), chain(*inputs), ulps=OP_ULPS)


@pytest.mark.parametrize("mode", ["fake", "symbolic"])
def test_gradients_are_right(mode: str) -> None:
    """The columns of a product may be of a number that is not known."""

    def gradients(x: torch.Tensor, weight: torch.Tensor, grad: torch.Tensor) -> list[torch.Tensor]:
        x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
        return list(torch.autograd.grad(linear(x, weight, weight[:, 0]), (x, weight), grad))

    x, weight, grad = torch.randn(5, 6), torch.randn(7, 6), torch.randn(5, 7)
    graph = _traced(gradients, x, weight, grad, mode=mode)
    PlainProducts()(graph.graph)
    graph.recompile()
    assert_gradients_close(graph(x, weight, grad), gradients(x, weight, grad))


def test_the_cache_knows_the_pass() -> None:
    assert PlainProducts().uuid() == PlainProducts().uuid() != b""


def test_the_cache_tells_measurements_apart() -> None:
    first, second = Product(1, 2, 3), Product(4, 5, 6)
    same = [
        MeasuredProducts(measured).uuid()
        for measured in ({first: MKL, second: ONEDNN}, {second: ONEDNN, first: MKL})
    ]
    other = [
        MeasuredProducts(measured).uuid() for measured in ({first: ONEDNN, second: ONEDNN}, {first: MKL})
    ]
    assert same[0] == same[1]
    assert len({*same, *other}) == 3
