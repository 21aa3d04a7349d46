"""The bytes of quantised weights, counted by hand. That they are those of torchao: test_quantization.py."""

from __future__ import annotations

from typing import Any

import pytest
from support.tiny import ENCODERS

from vision_composer import plan
from vision_composer.planning.quantised import bytes_saved

SHAPES = {
    "q.weight": (32, 16),
    "q.bias": (32,),
    "norm.weight": (16,),
    "odd.weight": (24, 16),
    "table": (9, 9),
}


@pytest.mark.parametrize(
    ("quantize", "each", "saved"),
    [
        ("none", 4, 0),
        ("int8", 4, 3 * (32 * 16 + 24 * 16) - 5 * (32 + 24)),
        ("int8-dynamic", 2, 32 * 16 + 24 * 16 - 5 * (32 + 24)),
        ("float8", 2, 32 * 16 - 4 * 32),  # 24 is no multiple of 16
    ],
)
def test_matrices_take_a_byte_a_value_and_some_a_row(quantize: str, each: int, saved: int) -> None:
    assert bytes_saved(SHAPES, quantize, each) == saved


LLAVA: dict[str, Any] = {
    "schema": 1,
    "encoder": ENCODERS["clip_vision_model"],
    "select_layers": [2],
    "output": "embeds",
    "connector": {"type": "llava", "hidden_size": 48},
}


def test_blocks_that_are_built_and_the_connector_count() -> None:
    width, inner = LLAVA["encoder"]["hidden_size"], LLAVA["encoder"]["intermediate_size"]
    shapes = [(width, width)] * 4 + [(inner, width), (width, inner)]
    block = sum(3 * rows * columns - 5 * rows for rows, columns in shapes)
    connector = 3 * (48 * width + 48 * 48) - 5 * (48 + 48)

    def saved(**keys: Any) -> int:
        whole, quantised = plan({**LLAVA, **keys}), plan({**LLAVA, **keys, "quantize": "int8"})
        assert whole.num_bytes is not None
        assert quantised.num_bytes is not None
        assert quantised.num_parameters == whole.num_parameters
        return whole.num_bytes - quantised.num_bytes

    assert saved() == 2 * block + connector
    assert saved(output="features", connector=None) == 2 * block
    assert saved(output="features", connector=None, select_layers=[0]) == 0


def test_several_towers_and_their_connector() -> None:
    steps = {"type": "steps", "hidden_size": 8, "steps": [{"type": "linear", "width": 8}]}
    tower = {"encoder": ENCODERS["clip_vision_model"], "feature_select_strategy": "default"}
    keys: dict[str, Any] = {"schema": 1, "towers": {"a": tower, "b": tower}, "project": {"a": {"width": 16}}}
    keys |= {"output": "embeds", "connector": steps}
    both = [plan({**keys, "quantize": kind}).num_bytes or 0 for kind in ("none", "int8")]
    one = [plan({"schema": 1, **tower, "quantize": kind}).num_bytes or 0 for kind in ("none", "int8")]
    width = 16 + ENCODERS["clip_vision_model"]["hidden_size"]
    connector = 3 * 8 * width - 5 * 8  # and not the layer of project
    assert both[0] - both[1] == 2 * (one[0] - one[1]) + connector
    assert one[0] > one[1]
