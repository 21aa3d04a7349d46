"""Tables of costs, measured on tiny encoders."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tiny import config

from vision_composer import compose
from vision_composer.bench import calibrate
from vision_composer.bench.comparison import noise
from vision_composer.errors import InputError
from vision_composer.parallel import CostModel


def test_a_calibration_is_a_cost_table(tmp_path: Path) -> None:
    tower = compose(config("pixtral"))
    costs = calibrate(tower, [(16, 16), (64, 32), (96, 96)], rounds=2)
    costs.save(tmp_path / "costs.json")
    read = CostModel.load(tmp_path / "costs.json", tower.plan)
    assert read == costs
    assert [m.grid for m in read.measurements] == [
        tower.image_grids(noise(tower, [size]))[0] for size in [(16, 16), (64, 32), (96, 96)]
    ]


def test_an_encoder_of_one_size_has_no_calibration() -> None:
    with pytest.raises(InputError, match="at least two sizes"):
        calibrate(compose(config("clip_vision_model")), [(32, 32), (64, 64)], rounds=1)
