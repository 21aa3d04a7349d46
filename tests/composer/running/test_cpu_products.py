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

from vision_composer.running.cpu_products import PlainProducts

aten = torch.ops.aten


def _traced(function: Any, *inputs: Any, mode: str = "fake") -> GraphModule:
    return make_fx(function, tracing_mode=mode)(*inputs)


def _widths(graph: GraphModule, *inputs: Any) -> list[int]:
    """Columns of the products that the graph computes."""
    seen: list[int] = []

    class Watch(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> Any:
            result = super().run_node(n)
            assert n.target is not aten.addmm.default
            if n.target is aten.mm.default:
                seen.append(result.shape[1])
            return result

    Watch(graph).run(*inputs)
    return seen


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("features", "padded"), [(1, 8), (7, 8), (8, 8), (12, 16), (3420, 3424)])
def test_rows_are_padded_to_whole_vectors(features: int, padded: int, bias: bool) -> None:
    inputs = (torch.randn(5, 6), torch.randn(features, 6), torch.randn(features) if bias else None)

    def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return linear(x, weight, bias)

    before = _traced(product, *inputs)
    after = copy.deepcopy(before)
    PlainProducts()(after.graph)
    after.recompile()
    after.graph.lint()
    assert _widths(after, *inputs) == [padded]
    assert_close(after(*inputs), before(*inputs), ulps=OP_ULPS)


def test_a_neighbour_that_is_not_a_number_stays_where_it_is() -> None:
    x, weight = torch.randn(3, 4), torch.randn(5, 4)
    x[1] = torch.nan
    graph = _traced(linear, x, weight)
    PlainProducts()(graph.graph)
    graph.recompile()
    assert graph(x, weight).isnan().any(1).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("function", "inputs"),
    [
        (linear, (torch.randn(4, 4, dtype=torch.bfloat16), torch.randn(5, 4, dtype=torch.bfloat16))),
        (lambda b, x, w: torch.addmm(b, x, w, alpha=2), (torch.randn(5), *torch.randn(2, 5, 5).unbind())),
        (torch.addmm, torch.randn(3, 5, 5).unbind()),
    ],
    ids=["bfloat16", "scaled", "no bias but a matrix"],
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
        return list(torch.autograd.grad(linear(x, weight), (x, weight), grad))

    x, weight, grad = torch.randn(5, 6), torch.randn(7, 6), torch.randn(5, 7)
    graph = _traced(gradients, x, weight, grad, mode=mode)
    PlainProducts()(graph.graph)
    graph.recompile()
    assert_gradients_close(graph(x, weight, grad), gradients(x, weight, grad))


def test_the_cache_knows_the_pass() -> None:
    assert PlainProducts().uuid() == PlainProducts().uuid() != b""
