"""``quantize``: what it goes together with, and where it is written."""

from __future__ import annotations

from typing import Any

import pytest

from vision_composer import load_config, plan
from vision_composer.errors import ConfigError

SIGLIP = {"schema": 1, "encoder": {"model_type": "siglip_vision_model"}, "quantize": "int8"}
READ = {**SIGLIP, "weights": {"source": "a/b"}}
DATA = {"mode": "data"}


def paths(keys: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        load_config(keys)
    return [(problem.code, problem.path) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({**SIGLIP, "training": {"freeze": "stem"}}, "training"),
        ({**SIGLIP, "training": {"gradient_checkpointing": True, "freeze": "all"}}, "training"),
        ({**SIGLIP, "compile": {"mode": "max-performance"}}, "compile.mode"),
        ({**READ, "parallel": {**DATA, "weights": "broadcast"}}, "parallel.weights"),
        ({**SIGLIP, "parallel": DATA}, "weights.source"),
        ({**SIGLIP, "quantize": "float8"}, "weights.dtype"),
    ],
)
def test_what_it_does_not_go_with(keys: dict[str, Any], path: str) -> None:
    assert paths(keys) == [("VC214", path)]
    load_config({key: value for key, value in keys.items() if key != "quantize"})


@pytest.mark.parametrize(
    "keys",
    [
        {**SIGLIP, "training": {"freeze": ["stem", "all"]}},
        {**SIGLIP, "compile": {"mode": "max-autotune"}},
        {**READ, "parallel": DATA},
        {**SIGLIP, "quantize": "float8", "weights": {"dtype": "bfloat16"}},
    ],
)
def test_what_it_goes_with(keys: dict[str, Any]) -> None:
    assert load_config(keys).quantize == keys["quantize"]


def test_of_several_towers_it_is_that_of_all() -> None:
    towers = {"a": {**SIGLIP, "quantize": "int8"}, "b": {**SIGLIP, "quantize": "none"}}
    fused = {"schema": 1, "towers": towers}
    assert paths(fused) == [("VC213", "towers.a.quantize")]
    config = load_config({**fused, "quantize": "int8"})
    assert [tower.quantize for tower in config.towers_by_name.values()] == ["int8", "int8"]
    trained = {**towers["b"], "training": {"freeze": "stem"}}
    assert paths({**fused, "quantize": "int8", "towers": {**towers, "b": trained}}) == [("VC214", "training")]


def test_a_config_without_it_is_written_as_before_there_was_the_key() -> None:
    plain = {key: value for key, value in SIGLIP.items() if key != "quantize"}
    off = load_config({**SIGLIP, "quantize": "none"})
    assert "quantize" not in {**load_config(plain).resolved(), **off.to_dict(), **off.resolved()}
    assert off == load_config(plain)
    assert load_config(SIGLIP).to_dict()["quantize"] == load_config(SIGLIP).resolved()["quantize"] == "int8"
    assert plan(plain).to_dict()["quantize"] == "none"
