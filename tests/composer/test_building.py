"""What runs a plan: built from random weights if no checkpoint is to be read, or without any at all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import tiny

from vision_composer import load_config
from vision_composer.building import planned, preprocessor_of, vision_half
from vision_composer.errors import WeightsError
from vision_composer.images.preprocess_tiles import TiledPreprocessor
from vision_composer.planning import plan_config
from vision_composer.running.attention import plan_attention
from vision_composer.tower.half import VisionHalf
from vision_composer.tower.module import VisionTower

CPU, META = torch.device("cpu"), torch.device("meta")
TILES = {"tiling": {"type": "got_ocr2"}, "output": "tiles"}


def plan_of(**keys: Any) -> Any:
    return plan_config(load_config(tiny.config("clip_vision_model", **keys)))


def built(plan: Any, where: torch.device = CPU, **options: Any) -> VisionTower | VisionHalf:
    return vision_half(plan, plan_attention(plan, CPU), where, **options)


def test_the_output_says_what_is_built() -> None:
    tower = built(plan_of(select_layers=[1, -2]))
    assert isinstance(tower, VisionTower)
    assert not tower.training
    assert len(tower.blocks) == 3  # no deeper than the deepest layer
    half = built(plan_of(**TILES))
    assert isinstance(half, VisionHalf)
    assert not half.training


def test_tiles_are_preprocessed_as_tiles() -> None:
    assert isinstance(preprocessor_of(plan_of(**TILES)), TiledPreprocessor)
    assert not isinstance(preprocessor_of(plan_of()), TiledPreprocessor)


def test_a_tower_is_built_without_reading_what_its_config_names() -> None:
    plan = plan_of(weights={"source": "./nowhere", "dtype": "bfloat16"})
    with pytest.raises(WeightsError, match="nowhere"):
        built(plan)
    for where in (CPU, META):
        tower = built(plan, where, reads=False)
        assert (tower.device.type, tower.dtype) == (where.type, torch.bfloat16)


def test_what_a_config_says_of_training_holds() -> None:
    tower = built(plan_of(training={"freeze": "blocks[:1]"}))
    trained = [any(p.requires_grad for p in block.parameters()) for block in tower.tower.blocks]
    assert trained == [False, True, True, True]


def test_a_plan_its_backend_and_its_preprocessor_come_together() -> None:
    plan = plan_of(attn_backend="eager")
    same, attention, preprocessor = planned(plan.config, [plan.processor], CPU)
    assert same == plan
    assert attention[""].implementation == "eager"
    assert preprocessor.processor.size["shortest_edge"] == 32
