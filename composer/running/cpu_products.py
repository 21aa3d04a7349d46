"""Passes of torch's compiler, inductor, over float32 matrix products on the CPU."""

from __future__ import annotations

import torch
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files
from torch.fx import Graph, Node

from .products import ONEDNN, Measured, Product, library_for

aten = torch.ops.aten


class PlainProducts(CustomGraphPass):
    """Gives MKL products without a bias.

    A bias is added after the product, where inductor fuses it with what follows; torch's addmm would fill the
    output with it first.
    """

    def __call__(self, graph: Graph) -> None:
        found = graph.find_nodes(op="call_function", target=aten.addmm.default)
        # All products are checked before any is replaced, because a new node has no shape yet.
        for node in [node for node in found if _is_plain(node)]:
            _replace(graph, node)

    def uuid(self) -> bytes:
        """Return the key of this code in inductor's cache."""
        return get_hash_for_files((__file__,))


class MeasuredProducts(CustomGraphPass):
    """Gives products of frozen weights to oneDNN, where inductor has given them to MKL and oneDNN was faster.

    It runs before inductor looks for what can be fused into oneDNN's products.
    """

    def __init__(self, measured: Measured) -> None:
        self._measured = measured

    def __call__(self, graph: Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=torch.ops.mkl._mkl_linear):
            *_, weight, _, rows = node.args
            outputs, inputs = getattr(graph.owning_module, str(weight.target)).shape
            if library_for(Product(rows, inputs, outputs), self._measured) == ONEDNN:
                _give_to_onednn(graph, node)

    def uuid(self) -> bytes:
        """Return the key of this code, and of what was measured, in inductor's cache."""
        return get_hash_for_files((__file__,), repr(sorted(self._measured.items())))


def _give_to_onednn(graph: Graph, node: Node) -> None:
    rows, _, weight, bias, number = node.args
    assert isinstance(weight, Node)  # frozen, beside what MKL has packed of it
    module, name = graph.owning_module, str(weight.target)
    packed = torch.ops.mkldnn._reorder_linear_weight(getattr(module, name), number)
    setattr(module, f"{name}_for_onednn", packed)
    with graph.inserting_before(node):
        constant = graph.create_node("get_attr", f"{name}_for_onednn")
        product = graph.call_function(
            torch.ops.mkldnn._linear_pointwise.default, (rows, constant, bias, "none", [], "")
        )
    product.meta.update(node.meta)
    node.replace_all_uses_with(product)
    graph.erase_node(node)


def _is_plain(node: Node) -> bool:
    """Return whether a node is a float32 product to which nothing but a bias is added."""
    bias, _, _ = _terms(node)
    return node.meta["val"].dtype is torch.float32 and not node.kwargs and bias.meta["val"].dim() == 1


def _terms(node: Node) -> list[Node]:
    """Return what a product is made of: what is added, rows, and a weight."""
    return [term for term in node.args if isinstance(term, Node)]


def _replace(graph: Graph, node: Node) -> None:
    bias, rows, weight = _terms(node)
    with graph.inserting_before(node):
        product = graph.call_function(aten.mm.default, (rows, weight))
        product = graph.call_function(aten.add.Tensor, (product, bias))
    node.replace_all_uses_with(product)
    graph.erase_node(node)
