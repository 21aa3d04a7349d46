"""How our tensors are made of another library's: which names, and which values."""

from __future__ import annotations

import torch

from vision_composer.weights.foreign.recipe import (
    Recipe,
    Table,
    clip_block,
    joined,
    module,
    positions,
    reshaped,
    split,
    tensor,
)


def named(table: Table) -> dict[str, tuple[str, ...]]:
    return {target: recipe.sources for target, recipe in table}


def test_names_of_tensors_and_modules() -> None:
    assert named(tensor("a", "b")) == {"a": ("b",)}
    assert named(module("a", "b")) == {"a.weight": ("b.weight",), "a.bias": ("b.bias",)}
    ours = Recipe(("a", "b"), joined).under("tower.")
    assert (ours.sources, ours.make) == (("tower.a", "tower.b"), joined)
    assert Recipe(("a",)).make(torch.ones(2)).tolist() == [1, 1]  # as it is


def test_projections_that_are_one_there_are_cut_into_their_rows() -> None:
    table = split(("q", "k", "v"), "attn.qkv")
    assert named(table)["k.bias"] == ("attn.qkv.bias",)
    weight, bias = torch.arange(24.0).view(6, 4), torch.arange(6.0)
    made = {name: recipe.make(weight if name.endswith("weight") else bias) for name, recipe in table}
    for index, name in enumerate("qkv"):
        assert torch.equal(made[f"{name}.weight"], weight[2 * index : 2 * index + 2])
        assert torch.equal(made[f"{name}.bias"], bias[2 * index : 2 * index + 2])
    assert named(split(iter("qk"), "in_proj", "_")) == {
        f"{name}.{kind}": (f"in_proj_{kind}",) for name in "qk" for kind in ("weight", "bias")
    }


def test_shapes() -> None:
    values = torch.arange(6.0)
    assert reshaped(1, 2, 3)(values).tolist() == [[[0, 1, 2], [3, 4, 5]]]
    assert joined(values[:2], values[4:]).tolist() == [0, 1, 4, 5]


def test_positions_have_a_row_for_the_class_token() -> None:
    rows = torch.arange(1.0, 9.0).view(1, 4, 2)
    assert torch.equal(positions(3, 4, 2)(rows), rows[0])
    without = positions(4, 1, 5, 2)(rows)
    assert without.shape == (1, 5, 2)
    assert without[0, 0].tolist() == [0, 0]
    assert torch.equal(without[0, 1:], rows[0])


def test_a_block_has_every_tensor_once() -> None:
    table = clip_block(("n1", "n2"), ("qkv", "."), "out", ("up", "down"))
    names = named(table)
    assert len(table) == len(names) == 16
    assert names["self_attn.v_proj.weight"] == ("qkv.weight",)
    assert names["self_attn.out_proj.bias"] == ("out.bias",)
    assert names["layer_norm2.weight"] == ("n2.weight",)
    assert names["mlp.fc2.bias"] == ("down.bias",)
