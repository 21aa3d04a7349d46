"""What is computed from given times, and how it is shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from vision_composer.bench import BenchResult, Row
from vision_composer.bench.measure import highest, rotated
from vision_composer.bench.report import cells, columns, heading, plot
from vision_composer.errors import InputError

OURS = Row("vision-composer", (0.2, 0.1, 0.4), 0.5, 3 * 2**20, 0, 0, 0.0)
COMPILED = Row("vision-composer, compiled", (0.1, 0.1, 0.1), 30.0, 2**20, 4, 1, 1e-6)
PEER = Row("transformers", (0.3, 0.5, 0.4), 0.6, None, 0, 0, 2e-6)
RESULT = BenchResult(
    config="small",
    model_type="clip_vision_model",
    num_blocks=3,
    num_hidden_layers=4,
    weights=None,
    dtype="float32",
    device="a processor",
    threads=2,
    images=((32, 32), (32, 32), (64, 32)),
    num_patches=64,
    flops=20 * 10**9,
    peak_flops_per_second=200e9,
    versions={"torch": "2.13.0", "transformers": "5.24.0"},
    rows=(OURS, COMPILED, PEER),
)


def test_speed_is_the_ratio_of_medians() -> None:
    assert RESULT.peers == (PEER,)
    assert RESULT.speed(OURS, PEER) == pytest.approx(2.0)
    assert RESULT.speed(COMPILED, PEER) == pytest.approx(4.0)
    assert RESULT.speed(PEER, PEER) == 1.0


def test_operations_are_those_of_the_features() -> None:
    assert RESULT.flops_per_second(OURS) == pytest.approx(100e9)
    assert replace(RESULT, flops=None).flops_per_second(OURS) is None


def test_a_row_of_the_table() -> None:
    shown = dict(zip(columns(RESULT), cells(RESULT, OURS), strict=True))
    assert shown == {
        "ms": "200",
        "min-max": "100-400",
        "x transformers": "2.00",
        "GFLOP/s": "100",
        "of peak": "50%",
        "peak MiB": "3",
        "first s": "0.5",
        "graphs": "0",
        "recompiles": "0",
    }
    unknown = dict(zip(columns(RESULT), cells(replace(RESULT, flops=None), PEER), strict=True))
    assert [unknown[name] for name in ("GFLOP/s", "of peak", "peak MiB")] == ["-", "-", "-"]


def test_the_heading_says_what_was_run() -> None:
    text = heading(RESULT)
    for part in ("small: 3 of 4 blocks", "random weights", "2 of 32x32, 1 of 64x32", "64 patches"):
        assert part in text
    assert "weights of a/b" in heading(replace(RESULT, weights="a/b"))


def test_json_has_every_attribute_and_the_derived_values() -> None:
    read = json.loads(json.dumps(RESULT.to_dict()))
    assert set(read) == {
        "config",
        "model_type",
        "num_blocks",
        "num_hidden_layers",
        "weights",
        "dtype",
        "device",
        "threads",
        "images",
        "num_patches",
        "flops",
        "peak_flops_per_second",
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


def test_a_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="it is optional")
    plot(RESULT, tmp_path / "bench.svg")
    text = (tmp_path / "bench.svg").read_text(encoding="utf-8")
    assert text.startswith("<?xml")
    with pytest.raises(InputError, match="cannot be drawn"):
        plot(RESULT, tmp_path / "bench.unknown")
