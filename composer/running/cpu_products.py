"""Passes of torch's compiler, inductor, over float32 matrix products on the CPU."""

from __future__ import annotations

import torch
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files
from torch.fx import Graph, Node

aten = torch.ops.aten

_TARGETS = (aten.mm.default, aten.addmm.default)

_VECTOR = 8
"""Floats in a vector of AVX2."""


class PlainProducts(CustomGraphPass):
    """Gives MKL products without a bias, in rows that start at whole vectors.

    A bias is added after the product, where inductor fuses it with what follows; torch's addmm would fill the
    output with it first. Weights are padded if their number of output features is no multiple of a vector,
    as in the gated MLP of Qwen2.5-VL, which is 3,420 wide: MKL takes a third longer for unaligned rows.
    Padding copies the weight every time, which costs little beside hundreds of tokens.
    """

    def __call__(self, graph: Graph) -> None:
        found = [node for target in _TARGETS for node in graph.find_nodes(op="call_function", target=target)]
        # All products are checked before any is replaced, because a new node has no shape yet.
        for node in [node for node in found if _is_plain(node)]:
            _replace(graph, node)

    def uuid(self) -> bytes:
        """Return the key of this code in inductor's cache."""
        return get_hash_for_files((__file__,))


class OneDNNProducts(CustomGraphPass):
    """Gives products of frozen weights to oneDNN, where inductor has given them to MKL.

    It runs before inductor looks for what can be fused into oneDNN's products.
    """

    def __call__(self, graph: Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=torch.ops.mkl._mkl_linear):
            _give_to_onednn(graph, node)

    def uuid(self) -> bytes:
        """Return the key of this code in inductor's cache."""
        return get_hash_for_files((__file__,))


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
    """Return whether a node is a float32 product with nothing but a bias."""
    *bias, _, _ = _terms(node)
    return (
        node.meta["val"].dtype is torch.float32
        and not node.kwargs
        and all(term.meta["val"].dim() == 1 for term in bias)
    )


def _terms(node: Node) -> list[Node]:
    """Return what a product is made of: a bias if it has one, rows, and a weight."""
    return [term for term in node.args if isinstance(term, Node)]


def _replace(graph: Graph, node: Node) -> None:
    *bias, rows, weight = _terms(node)
    features = node.meta["val"].shape[1]
    # A symbolic number counts tokens, as it does in a gradient.
    padding = -features % _VECTOR if isinstance(features, int) else 0
    with graph.inserting_before(node):
        if padding:
            weight = graph.call_function(aten.constant_pad_nd.default, (weight, [0, padding]))
        product = graph.call_function(aten.mm.default, (rows, weight))
        if padding:
            product = graph.call_function(aten.slice.Tensor, (product, 1, 0, features))
        if bias:
            product = graph.call_function(aten.add.Tensor, (product, *bias))
    node.replace_all_uses_with(product)
    graph.erase_node(node)
