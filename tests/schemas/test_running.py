"""How a tower runs: what compilation, data parallelism and training can be told."""

from __future__ import annotations

from typing import Any

import pytest
from support.loading import faults

from vision_composer.schemas.running import CompileConfig, ParallelConfig, TrainingConfig


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (CompileConfig, {"mode": 3}),
        (ParallelConfig, {"mode": "model"}),
        (TrainingConfig, {"freeze": 3}),
        (TrainingConfig, {"freeze": ["blocks[:0]"]}),
        (TrainingConfig, {"freeze": "blocks[:-1]"}),
        (TrainingConfig, {"freeze": "blocks[1:]"}),
        (TrainingConfig, {"gradient_checkpointing": 1}),
    ],
)
def test_types_are_strict(model: Any, values: dict[str, Any]) -> None:
    assert faults(model, values) != []


MAX = {"mode": "max-performance"}


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (MAX, []),
        ({"backend": "eager", "scope": "tower"}, []),
        (MAX | {"backend": "eager"}, [("VC210", ("backend",))]),
        (MAX | {"scope": "tower"}, [("VC210", ("scope",))]),
        (MAX | {"backend": "eager", "scope": "tower"}, [("VC210", ("backend",)), ("VC210", ("scope",))]),
    ],
)
def test_compilation(values: dict[str, Any], found: list[Any]) -> None:
    assert faults(CompileConfig, values) == found


COSTS = {"cost_table": "./costs.json"}


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (COSTS, []),
        (COSTS | {"inputs": "sharded"}, [("VC104", ("cost_table",))]),
        (COSTS | {"balance": "patches"}, [("VC104", ("cost_table",))]),
        ({"inputs": "sharded"}, []),
        ({"inputs": "sharded", "balance": "cost"}, [("VC104", ("balance",))]),  # the default, but written
    ],
)
def test_data_parallelism(values: dict[str, Any], found: list[Any]) -> None:
    assert faults(ParallelConfig, {"mode": "data", **values}) == found


@pytest.mark.parametrize(
    ("freeze", "parts", "blocks"),
    [
        ([], (), 0),
        ("all", ("all",), 0),
        ("blocks[:6]", ("blocks[:6]",), 6),
        (["blocks[:2]", "stem", "blocks[:10]"], ("blocks[:2]", "stem", "blocks[:10]"), 10),
    ],
    ids=str,
)
def test_one_part_or_several_are_frozen(freeze: Any, parts: tuple[str, ...], blocks: int) -> None:
    training = TrainingConfig.model_validate({"freeze": freeze})
    assert (training.freeze, training.frozen_blocks) == (parts, blocks)


def test_parts_that_there_are_not() -> None:
    assert faults(TrainingConfig, {"freeze": ["stem"] * 16}) == []
    assert faults(TrainingConfig, {"freeze": ["stem"] * 17}) == [("VC104", ("freeze",))]
    assert faults(TrainingConfig, {"freeze": ["stem", "steam"]}) == [("VC104", ("freeze", 1))]
