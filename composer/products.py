"""A pass of inductor over float32 matrix products on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files
from torch.fx import Graph, Node

aten = torch.ops.aten

_VECTOR = 8
"""Floats in a vector of AVX2."""


class PlainProducts(CustomGraphPass):
    """Leaves the product alone to MKL, in rows that start at whole vectors.

    A bias is added behind the product, where inductor fuses it with what follows; torch's addmm fills the
    output with it first. And weights whose number of output features fills no whole vectors are padded: MKL
    takes a third longer for rows that start anywhere, as in the gated MLP of Qwen2.5-VL, which is 3,420 wide.
    Padding copies the weight every time, next to nothing beside hundreds of tokens.
    """

    def __call__(self, graph: Graph) -> None:
        for node in _products(graph, aten.mm.default):
            _replace(graph, node, *node.args)
        for node in _products(graph, aten.addmm.default):
            bias, rows, weight = node.args
            if bias.meta["val"].dim() == 1 and not node.kwargs:
                _replace(graph, node, rows, weight, bias)

    def uuid(self) -> bytes:
        """What inductor's cache knows this code by."""
        return get_hash_for_files((__file__,))


def _products(graph: Graph, target: Any) -> list[Any]:
    nodes = graph.find_nodes(op="call_function", target=target)
    return [node for node in nodes if node.meta["val"].dtype is torch.float32]


def _replace(graph: Graph, node: Node, rows: Any, weight: Any, bias: Any = None) -> None:
    features = node.meta["val"].shape[1]
    # A symbolic number is one of tokens, in a gradient.
    padding = -features % _VECTOR if isinstance(features, int) else 0
    with graph.inserting_before(node):
        if padding:
            weight = graph.call_function(aten.constant_pad_nd.default, (weight, [0, padding]))
        product = graph.call_function(aten.mm.default, (rows, weight))
        if padding:
            product = graph.call_function(aten.slice.Tensor, (product, 1, 0, features))
        if bias is not None:
            product = graph.call_function(aten.add.Tensor, (product, bias))
    node.replace_all_uses_with(product)
    graph.erase_node(node)
