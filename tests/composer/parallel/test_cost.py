"""The cost of images: FLOPs as torch counts them, and coefficients found again in times made of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import tiny
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vision_composer import compose, plan
from vision_composer.errors import InputError
from vision_composer.parallel import CostModel, Measurement
from vision_composer.parallel.balance import assign_by_cost, assign_by_size, assign_in_order

QWEN = {"schema": 1, "encoder": tiny.PACKED["qwen2_5_vl_vision"]}
LARGE = {
    "schema": 1,
    "encoder": {
        "model_type": "qwen2_5_vl_vision",
        "depth": 32,
        "hidden_size": 1280,
        "num_heads": 16,
        "out_hidden_size": 3584,
        "fullatt_block_indexes": [7, 15, 23, 31],
    },
}
PIXTRAL = {"schema": 1, "encoder": tiny.PACKED["pixtral"]}


@pytest.mark.parametrize("grid", [(1, 2, 2), (1, 10, 14), (3, 6, 26)])
@pytest.mark.parametrize("name", ["qwen2_5_vl_vision", "minimax_m3_vl_vision"])
def test_costs_are_operations(name: str, grid: tuple[int, int, int]) -> None:
    encoder = compose({"schema": 1, "encoder": tiny.PACKED[name]})
    patches = torch.zeros(grid[0] * grid[1] * grid[2], 3 * 2 * 16)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        encoder(pixel_values=patches, image_grid_thw=torch.tensor([grid]))
    assert CostModel(encoder.plan)(grid) == counter.get_total_flops()


def test_small_and_large_grids_are_not_resized() -> None:
    cost = CostModel(plan(PIXTRAL))
    costs = [cost((1, side, side)) for side in (1, 2, 8, 64, 512)]
    assert costs == sorted(set(costs))


@given(
    st.lists(st.floats(0, 1).map(lambda x: 0 if x < 0.2 else x), min_size=3, max_size=3).filter(any),
    st.booleans(),
)
def test_a_fit_finds_the_coefficients_that_made_the_times(shares: list[float], noisy: bool) -> None:
    planned = plan(LARGE)
    made = CostModel(planned, shares[0] * 1e-2, shares[1] * 1e-13, shares[2] * 1e-13)
    grids = [(1, 4, 4), (1, 16, 20), (2, 40, 40), (1, 64, 96), (1, 120, 100)]
    noise = np.random.default_rng(0).normal(1, 0.02 if noisy else 0, len(grids))
    times = [
        Measurement(grid, made(grid) * 1e-12 * factor) for grid, factor in zip(grids, noise, strict=True)
    ]
    fitted = CostModel.fit(planned, times)
    for grid in [*grids, (1, 30, 30)]:
        assert fitted(grid) == pytest.approx(made(grid), rel=0.06 if noisy else 1e-4)


def test_a_table_comes_back(tmp_path: Path) -> None:
    planned = plan(QWEN)
    times = [Measurement((1, 2, 2), 0.01), Measurement((1, 8, 8), 0.02), Measurement((2, 8, 8), 0.05)]
    fitted = CostModel.fit(planned, times)
    fitted.save(tmp_path / "costs.json")
    assert CostModel.load(tmp_path / "costs.json", planned) == fitted
    with pytest.raises(InputError, match=r"was measured with .*qwen2_5_vl_vision.* and this encoder is"):
        CostModel.load(tmp_path / "costs.json", plan(PIXTRAL))


@pytest.mark.parametrize(
    "change",
    [
        lambda table: "no json",
        lambda table: json.dumps([]),
        lambda table: json.dumps(table | {"format": "other"}),
        lambda table: json.dumps({key: value for key, value in table.items() if key != "encoder"}),
        lambda table: json.dumps(table | {"seconds_per_image": -1}),
        lambda table: json.dumps(table | {"seconds_per_image": "NaN"}),
        lambda table: json.dumps(table | {"measurements": [1]}),
    ],
)
def test_broken_tables(change: Any, tmp_path: Path) -> None:
    planned = plan(QWEN)
    path = tmp_path / "costs.json"
    CostModel(planned).save(path)
    path.write_text(change(json.loads(path.read_text())))
    with pytest.raises(InputError, match=r"costs\.json"):
        CostModel.load(path, planned)
    with pytest.raises(InputError, match=r"missing\.json: cannot be read: no such file$"):
        CostModel.load(tmp_path / "missing.json", planned)


def test_a_table_from_before_forwards_had_a_cost(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    fitted = CostModel.fit(plan(QWEN), [Measurement((1, 2, 2), 0.01), Measurement((1, 8, 8), 0.02)])
    fitted.save(path)
    table = json.loads(path.read_text())
    del table["seconds_per_forward"]
    for measurement in table["measurements"]:
        del measurement["images"]
    path.write_text(json.dumps(table))
    assert CostModel.load(path, plan(QWEN)) == fitted


def test_a_table_without_a_key(tmp_path: Path) -> None:
    (tmp_path / "costs.json").write_text("{}")
    with pytest.raises(
        InputError, match="not a table of costs as bench --calibrate writes it: it has no 'format'"
    ):
        CostModel.load(tmp_path / "costs.json", plan(QWEN))


def test_a_pipe_is_no_table(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "costs.json")
    with pytest.raises(InputError, match="a named pipe, not a regular file"):
        CostModel.load(tmp_path / "costs.json", plan("llava-1.5-7b"))


@pytest.mark.parametrize(
    "times",
    [
        [],
        [Measurement((1, 2, 2), 0.1)] * 3,
        [Measurement((1, 2, 2), 0.1), Measurement((1, 4, 4), 0.0)],
        [Measurement((1, 2, 2), 0.1), Measurement((1, 4, 4), float("nan"))],
        [Measurement((1, 2, 2), 0.1), Measurement((1, 0, 4), 0.1)],
        [Measurement((1, 2, 2), 0.1), Measurement((1, 4, 4), 0.1, 0)],
    ],
)
def test_what_is_no_table(times: list[Measurement]) -> None:
    with pytest.raises(InputError, match="measurement"):
        CostModel.fit(plan(QWEN), times)


# --- dealing by cost ----------------------------------------------------------------------------------


def makespan(costs: list[int], assignment: list[list[int]]) -> int:
    return max(sum(costs[i] for i in images) for images in assignment)


@pytest.mark.parametrize("keys", [LARGE, PIXTRAL], ids=["windows", "whole"])
def test_ranks_are_busy_for_as_long_as_each_other(keys: dict[str, Any]) -> None:
    cost = CostModel(plan(keys))
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(200):
        patches = np.exp(rng.normal(np.log(1100), 1, 64)).clip(64, 16384)
        sides = [2 * max(1, round(side / 2)) for side in np.sqrt(patches)]
        costs = [cost((1, side, side)) for side in sides]
        ratios.append(makespan(costs, assign_by_cost(costs, 4)) / max(*costs, sum(costs) / 4))
    assert np.mean(ratios) <= 1.005
    assert np.quantile(ratios, 0.95) <= 1.01


@given(st.lists(st.integers(0, 10**15), max_size=30), st.integers(1, 6))
def test_every_image_is_dealt_once_and_never_worse_than_by_size(costs: list[int], ranks: int) -> None:
    assignment = assign_by_cost(costs, ranks)
    assert sorted(i for images in assignment for i in images) == list(range(len(costs)))
    assert [images == sorted(images) for images in assignment] == [True] * ranks
    assert makespan(costs, assignment) <= makespan(costs, assign_by_size(costs, ranks))


@given(st.integers(0, 50), st.integers(1, 9))
def test_in_order(images: int, ranks: int) -> None:
    assignment = assign_in_order(images, ranks)
    assert [i for images in assignment for i in images] == list(range(images))
    assert max(map(len, assignment)) - min(map(len, assignment)) <= 1


def test_many_images_take_no_time_to_deal() -> None:
    costs = [(i * 7919) % 10007 for i in range(20_000)]
    assert makespan(costs, assign_by_cost(costs, 8)) <= sum(costs) / 8 * 1.001


def test_a_table_of_another_dtype_is_refused(tmp_path: Path) -> None:
    CostModel(plan(QWEN)).save(tmp_path / "costs.json")
    with pytest.raises(InputError, match=r"was measured with .*float32.* and this encoder is .*bfloat16"):
        CostModel.load(tmp_path / "costs.json", plan({**QWEN, "weights": {"dtype": "bfloat16"}}))


@pytest.mark.parametrize(
    "key",
    ["seconds_per_image", "seconds_per_linear_flop", "seconds_per_attention_flop", "seconds_per_forward"],
)
@pytest.mark.parametrize("value", [-1e-12, float("inf"), float("nan")])
def test_costs_that_are_none(key: str, value: float, tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    CostModel(plan(QWEN)).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(InputError, match=r"costs\.json"):
        CostModel.load(path, plan(QWEN))
