"""Weights that differ in a name, a shape, a dtype or a value have another hash."""

from __future__ import annotations

import copy

import torch
from torch import nn

from vision_composer.jobs.weights_hash import weights_hash


def module() -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(30, 40), nn.LayerNorm(40))
    made.register_buffer("scale", torch.tensor(2.0))
    made.register_buffer("none", torch.empty(0))
    return made


def test_the_same_weights_have_the_same_hash() -> None:
    found = weights_hash(module())
    assert len(found) == 64
    assert weights_hash(module()) == found
    assert weights_hash(module().train().requires_grad_(False)) == found


def test_other_weights_have_another() -> None:
    base = module()
    hashes = {weights_hash(base)}

    def changed() -> nn.Module:
        return copy.deepcopy(base)

    value, shape, name, buffer = changed(), changed(), changed(), changed()
    with torch.no_grad():
        value[0].bias[-1] += 1e-6  # type: ignore[index, operator]  # the last of a small tensor
    shape[0].weight = nn.Parameter(shape[0].weight.reshape(60, 20))  # type: ignore[index, union-attr, operator]
    name.add_module("2", name._modules.pop("1"))
    buffer.scale.fill_(3.0)  # type: ignore[union-attr, operator]
    for other in (value, shape, name, buffer, changed().double()):
        hashes.add(weights_hash(other))
    assert len(hashes) == 6


def test_the_order_of_modules_says_nothing() -> None:
    one, other = nn.ModuleDict(), nn.ModuleDict()
    torch.manual_seed(0)
    parts = {"a": nn.Linear(2, 3), "b": nn.Linear(3, 2)}
    one.update(parts)
    other.update(dict(reversed(parts.items())))
    assert weights_hash(one) == weights_hash(other)


def test_large_tensors_are_told_apart_by_values_from_all_over() -> None:
    large = nn.ParameterList([torch.zeros(100_000)])
    before = weights_hash(large)
    with torch.no_grad():
        large[0][50_000:] += 1
    assert weights_hash(large) != before
