"""Tables of costs, measured on tiny encoders."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny import config

from vision_composer import compose
from vision_composer.bench import calibrate, calibration
from vision_composer.bench.comparison import noise
from vision_composer.errors import InputError
from vision_composer.parallel import CostModel


def test_a_calibration_is_a_cost_table(tmp_path: Path) -> None:
    tower = compose(config("pixtral"))
    costs = calibrate(tower, [(16, 16), (64, 32), (96, 96)], rounds=2)
    costs.save(tmp_path / "costs.json")
    read = CostModel.load(tmp_path / "costs.json", tower.plan)
    assert read == costs
    grids = [tower.image_grids(noise(tower, [size]))[0] for size in [(16, 16), (64, 32), (96, 96)]]
    counts = [1, 16, 1, 4, 1]
    assert [(m.grid, m.images) for m in read.measurements] == [
        (grids[i], count) for i, count in zip([0, 0, 1, 1, 2], counts, strict=True)
    ]


def test_launching_is_no_cost_of_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    tower = compose(config("pixtral"))
    sizes = [(16, 16), (32, 64), (64, 64), (96, 96)]
    true = CostModel(tower.plan, 2e-6, 1e-12, 3e-12)

    def times(runs: Sequence[partial[Any]], rounds: int, device: torch.device) -> list[tuple[float, ...]]:
        """A millisecond for every forward, whatever is in it, and what its images cost."""
        grids = [tower.image_grids(run.keywords) for run in runs]
        return [(1e-3 + sum(map(true, of)) * 1e-12,) * rounds for of in grids]

    monkeypatch.setattr(calibration, "interleaved", times)
    found = calibrate(tower, sizes, rounds=1)
    assert found.seconds_per_forward == pytest.approx(1e-3, rel=1e-2)
    for grid in [m.grid for m in found.measurements]:
        assert found(grid) == pytest.approx(true(grid), rel=0.05)


def test_an_encoder_of_one_size_has_no_calibration() -> None:
    with pytest.raises(InputError, match="at least two sizes"):
        calibrate(compose(config("clip_vision_model")), [(32, 32), (64, 64)], rounds=1)
