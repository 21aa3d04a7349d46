"""The ``reduce`` key of a config: what it takes, what it refuses, and that it is not there unasked."""

from __future__ import annotations

from typing import Any

import pytest
from support.tiny import config

from vision_composer import load_config, plan
from vision_composer.errors import ConfigError

CLIP = config("clip_vision_model", feature_select_strategy="default")
QWEN = config("qwen2_5_vl_vision", output="embeds")
LEVELS = config("qwen3_vl_vision", output="embeds", deepstack="separate")
EVS = {"type": "evs", "keep": 0.25}
POOL = {"type": "pool"}
EMBEDS = {**CLIP, "output": "embeds", "connector": {"type": "llava_next", "hidden_size": 24}}
HUNYUAN = config("hunyuan_vl_vision", output="embeds", connector={"type": "hunyuan_vl", "hidden_size": 24})


def problem(keys: dict[str, Any]) -> tuple[str, str, str]:
    with pytest.raises(ConfigError) as caught:
        plan(keys)
    (found,) = caught.value.problems
    return found.code, found.path, found.message


@pytest.mark.parametrize(
    ("block", "code", "path", "message"),
    [
        ({"type": "evz"}, "VC104", "reduce.type", "unknown reduce 'evz' (did you mean 'evs'?)"),
        ({"keep": 0.5}, "VC102", "reduce.type", "missing key: which reduce it is; one of evs, pool, vidcom2"),
        ("pool", "VC103", "reduce", "expected a mapping with a type, such as {type: evs}"),
        ({**EVS, "kep": 1}, "VC101", "reduce.kep", "unknown key (did you mean 'keep'?)"),
        ({**EVS, "keep": 0.0}, "VC104", "reduce.keep", "0"),
        ({**EVS, "keep": 1.5}, "VC104", "reduce.keep", "must be at most 1, got 1.5"),
        ({**EVS, "keep": "half"}, "VC103", "reduce.keep", "a number"),
    ],
)
def test_what_is_no_reduction(block: object, code: str, path: str, message: str) -> None:
    found = problem({**QWEN, "reduce": block})
    assert found[:2] == (code, path)
    assert message in found[2]


@pytest.mark.parametrize(
    ("keys", "path", "message"),
    [
        ({**CLIP, "output": "tiles", "reduce": POOL}, "reduce", "tokens of tiles are not reduced"),
        ({**LEVELS, "reduce": EVS}, "reduce", "deepstack: separate gives levels"),
        (
            config("siglip_vision_model", head=True, reduce=POOL),
            "reduce",
            "the pooling head returns one token",
        ),
        (
            config("clip_vision_model", reduce=POOL),
            "reduce.type",
            "those of the tower do not stand row by row; set feature_select_strategy: default",
        ),
        (
            config("qwen2_5_vl_vision", select_layers=[-1], reduce=POOL),
            "reduce.type",
            "those of the tower do not stand row by row",
        ),
        (
            {**EMBEDS, "tiling": {"type": "llava_next"}, "reduce": POOL},
            "reduce.type",
            "tiles are cut out of it; set tiling: none",
        ),
        (
            {**EMBEDS, "reduce": POOL},
            "reduce.type",
            "those of the connector 'llava_next' do not stand row by row",
        ),
        (
            {**HUNYUAN, "reduce": EVS},
            "reduce.type",
            "the rows of the connector 'hunyuan_vl' do not come frame by frame",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_reduced(keys: dict[str, Any], path: str, message: str) -> None:
    found = problem(keys)
    assert found[:2] == ("VC211", path)
    assert message in found[2]


def test_several_towers_are_not_reduced() -> None:
    towers = {"a": CLIP, "b": CLIP}
    reduced = {"schema": 1, "towers": {**towers, "b": {**CLIP, "reduce": POOL}}}
    assert problem(reduced) == (
        "VC213",
        "towers.b.reduce",
        "tokens of several towers are not reduced; leave this out",
    )
    assert problem({"schema": 1, "towers": towers, "reduce": POOL})[:2] == ("VC101", "reduce")


def test_a_config_without_it_says_nothing_of_it() -> None:
    plain, reduced = load_config(QWEN), load_config({**QWEN, "reduce": EVS})
    for said in (plain.to_dict(), plain.resolved(), load_config({**QWEN, "reduce": None}).resolved()):
        assert "reduce" not in said
    assert load_config({**QWEN, "reduce": None}) == plain
    assert reduced.to_dict()["reduce"] == EVS
    assert load_config({**QWEN, "reduce": POOL}).resolved()["reduce"] == {"type": "pool", "keep": 0.5}
    assert load_config(reduced.to_dict()) == reduced
    assert load_config(reduced, overrides=["~reduce"]).to_dict() == plain.to_dict()


def test_an_error_shows_the_place(tmp_path: Any) -> None:
    file = tmp_path / "tower.yaml"
    file.write_text(
        "schema: 1\nencoder: {model_type: clip_vision_model}\nreduce:\n  keep: 0.5\n  type: pool\n"
    )
    with pytest.raises(ConfigError, match=r"tower\.yaml:5:9: reduce\.type: pool joins tokens"):
        plan(file)
