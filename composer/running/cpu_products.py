"""A pass of inductor over float32 matrix products on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files
from torch.fx import Graph

aten = torch.ops.aten

_TARGETS = (aten.mm.default, aten.addmm.default)

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
        found = [node for target in _TARGETS for node in graph.find_nodes(op="call_function", target=target)]
        # All are looked at before any is replaced: what comes in its place has no shape yet.
        for node in [node for node in found if _is_plain(node)]:
            _replace(graph, node)

    def uuid(self) -> bytes:
        """What inductor's cache knows this code by."""
        return get_hash_for_files((__file__,))


def _is_plain(node: Any) -> bool:
    """Whether it is a product of float32 with no more to it than a bias."""
    bias = node.args[:-2]
    return (
        node.meta["val"].dtype is torch.float32
        and not node.kwargs
        and all(term.meta["val"].dim() == 1 for term in bias)
    )


def _replace(graph: Graph, node: Any) -> None:
    *bias, rows, weight = node.args
    features = node.meta["val"].shape[1]
    # A symbolic number is one of tokens, in a gradient.
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
