"""What is computed from given times."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from support.results import COMPILED, OURS, PEER, RESULT

from vision_composer.bench.measure import highest, rotated


def test_speed_is_the_ratio_of_medians() -> None:
    assert RESULT.peers == (PEER,)
    assert RESULT.speed(OURS, PEER) == pytest.approx(2.0)
    assert RESULT.speed(COMPILED, PEER) == pytest.approx(4.0)
    assert RESULT.speed(PEER, PEER) == 1.0


def test_operations_are_those_of_the_features() -> None:
    assert RESULT.flops_per_second(OURS) == pytest.approx(100e9)
    assert replace(RESULT, flops=None).flops_per_second(OURS) is None


def test_json_has_every_attribute_and_the_derived_values() -> None:
    read = json.loads(json.dumps(RESULT.to_dict()))
    assert set(read) == {
        "config",
        "model_type",
        "num_blocks",
        "num_hidden_layers",
        "weights",
        "dtype",
        "quantize",
        "device",
        "threads",
        "images",
        "num_patches",
        "flops",
        "peak_flops_per_second",
        "products_measured",
        "versions",
        "rows",
    }
    assert read["rows"][1] == {
        "name": "vision-composer, compiled",
        "seconds": [0.1, 0.1, 0.1],
        "first_seconds": 30.0,
        "peak_bytes": 2**20,
        "graphs": 4,
        "recompiles": 1,
        "difference": 1e-6,
        "median_seconds": 0.1,
        "flops_per_second": pytest.approx(200e9),
        "speed_against": {"transformers": pytest.approx(4.0)},
    }


@pytest.mark.parametrize(
    ("changes", "level"), [([], 0), ([5, -5, 3], 5), ([1, 2, -3, 9, -9], 9), ([-4, 2], 0)], ids=str
)
def test_the_highest_level(changes: list[int], level: int) -> None:
    assert highest(changes) == level


@pytest.mark.parametrize(("by", "order"), [(0, [0, 1, 2]), (1, [1, 2, 0]), (5, [2, 0, 1])], ids=str)
def test_every_round_begins_with_another_one(by: int, order: list[int]) -> None:
    assert list(rotated(range(3), by)) == order
