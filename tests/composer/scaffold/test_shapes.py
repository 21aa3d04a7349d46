"""Shapes as Python: what is written is evaluated at sizes that it was not read from."""

from __future__ import annotations

from typing import Any

import pytest

from vision_composer.encoders.shapes import conv_patches, layer_norm, linear, num_positions
from vision_composer.scaffold.shapes import Sizes, blocks_of
from vision_composer.schemas import encoder_config

NAMES = (
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "image_size",
    "patch_size",
    "num_channels",
)
SMALL, OTHER, THIRD = (96, 56, 4, 42, 7, 3), (64, 88, 2, 40, 5, 2), (120, 44, 5, 99, 11, 1)


def tensors(sizes: tuple[int, ...], *, names: int = 4) -> dict[str, tuple[int, ...]]:
    width, mlp, heads, side, patch, channels = sizes
    patches = (side // patch) ** 2
    return {
        "cls_token": (1, 1, width),
        "patches.weight": (width, channels, patch, patch),
        "patches.bias": (width,),
        "positions.weight": (2 + patches, width),
        "plain_positions": (patches, width),
        "block.qkv.weight": (3 * width, width),
        "block.qkv.bias": (3 * width,),
        "block.key.weight": (width, width),
        "block.fc.weight": (mlp, width),
        "block.fc.bias": (mlp,),
        "block.norm.weight": (width,),
        "block.norm.bias": (width,),
        "block.head_norm.weight": (width // heads,),
        "block.bias_of_heads": (heads, 1),
        "block.constant": (16,),
    }


def read(conditions: dict[str, str] | None = None) -> Sizes:
    values = [dict(zip(NAMES, sizes, strict=True)) for sizes in (SMALL, OTHER)]
    return Sizes(tensors(SMALL), tensors(OTHER), *values, conditions or {})


def evaluated(lines: list[str], sizes: tuple[int, ...], **fields: Any) -> dict[str, tuple[int, ...]]:
    encoder = encoder_config({"model_type": "vit", **dict(zip(NAMES, sizes, strict=True)), **fields})
    helpers = {"conv_patches": conv_patches, "layer_norm": layer_norm, "linear": linear}
    shapes: dict[str, tuple[int, ...]] = eval(
        "{" + "\n".join(lines) + "}", {**helpers, "num_positions": num_positions, "encoder": encoder}
    )
    return shapes


def test_it_holds_at_other_sizes() -> None:
    lines = read().python("", list(tensors(SMALL)))
    for sizes in (SMALL, OTHER, THIRD):
        assert evaluated(lines, sizes) == tensors(sizes)


def test_helpers_are_used_where_they_say_it_all() -> None:
    lines = "\n".join(read().python("block.", [name for name in tensors(SMALL) if name.startswith("block.")]))
    assert '**linear("fc", encoder.hidden_size, encoder.intermediate_size),' in lines
    assert '**layer_norm("norm", encoder.hidden_size),' in lines
    assert '"key.weight": (encoder.hidden_size, encoder.hidden_size),' in lines


@pytest.mark.parametrize(("bias", "kept"), [(True, True), (False, False)])
def test_a_tensor_that_is_there_with_a_flag_only(bias: bool, kept: bool) -> None:
    conditional = dict.fromkeys(
        ("block.qkv.bias", "block.bias_of_heads", "block.norm.weight"), "encoder.qkv_bias"
    )
    lines = read(conditional).python("", list(tensors(SMALL)))
    found = evaluated(lines, THIRD, qkv_bias=bias)
    assert all((name in found) == kept for name in conditional)
    assert len(found) == len(tensors(SMALL)) - (0 if kept else len(conditional))


def test_a_size_that_no_key_makes_is_unknown() -> None:
    sizes = read()
    assert sizes.dimension(1001, 1003) == "..."
    assert sizes.dimension(7, 7) == "7"
    odd = Sizes({"a": (1001,), "b": (96,)}, {"a": (1003,), "b": (64,)}, sizes.values, sizes.other_values, {})
    assert odd.unknown(["a", "b"]) == {"a": (1001,)}


def test_blocks_are_the_numbered_ones_of_full_depth() -> None:
    names = [f"encoder.layer.{i}.mlp.{j}.weight" for i in range(3) for j in range(2)]
    shapes = dict.fromkeys([*names, "neck.0.weight", "neck.1.weight", "norm.weight"], (1,))
    blocks = blocks_of(shapes, 3)
    assert blocks is not None
    assert (blocks.before, blocks.alike) == ("encoder.layer.", True)
    assert set(blocks.names) == {"mlp.0.weight", "mlp.1.weight"}
    assert [blocks.has(name) for name in (names[-1], "neck.0.weight", "encoder.layernorm")] == [
        True,
        False,
        False,
    ]
    assert blocks_of(shapes, 4) is None
    uneven = blocks_of({**shapes, "encoder.layer.2.gate": (1,)}, 3)
    assert uneven is not None
    assert not uneven.alike
