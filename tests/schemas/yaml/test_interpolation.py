import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from support.loading import resolved, unresolved
from support.strategies import nested

from vision_composer.errors import ConfigError
from vision_composer.schemas import load_yaml
from vision_composer.schemas.yaml.interpolation import interpolate
from vision_composer.schemas.yaml.nodes import MAX_NODES, from_python


@pytest.mark.parametrize(
    "data",
    [
        {"a": "${b}", "b": 1},
        {"a": "${b}", "b": 1.5},
        {"a": "${b}", "b": None},
        {"a": "${b}", "b": True},
        {"a": "${b.c}", "b": {"c": [1, {"d": 2}]}},
        {"a": "${b}", "b": {"c": "${.d}", "d": "${..e}"}, "e": 3},
        {"a": "x${b}-${ c }y", "b": 1, "c": None},
        {"a": "x${b}", "b": {"c": [1, "z"]}},
        {"a": [1, "${.0}", "${a[0]}", "${b.1}"], "b": ["${a[0]}", 2]},
        {"a": {"b": {"c": "${...d}"}}, "d": 4},
        {"a": "${b.c}", "b": "${d}", "d": {"c": "${e}"}, "e": 5},
        {"a": "${x.y}", "x": "${z}", "z": {"y": 1, "w": "${x.y}"}},
        {"a": "${b}", "b": {"x": "${a.y}", "y": 1}},
        {"a": "${[b][c]}", "b": {"c": 1}},
        {"a": "${b.0}", "b": {"0": 5}},
        {"a": "${é}", "é": 1},
        {"a": r"\${b}", "b": 1},
        {"a": r"\\${b} \${c}", "b": 1},
        {"a": "${c}", "c": r"\${b}"},
        {"a": "$b {c} $ {d}", "e": "${a}"},
    ],
)
def test_references_mean_what_they_mean_to_omegaconf(data):
    assert resolved(data) == OmegaConf.to_container(OmegaConf.create(data), resolve=True)


def test_without_references_nothing_changes_and_omegaconf_is_not_loaded():
    tree = from_python({"a": r"\???", "b": "$x", "c": ["}"]})
    assert interpolate(tree) is tree
    code = """
import sys
from vision_composer.schemas import TowerConfig, load_config
load_config({"schema": 1, "encoder": {"model_type": "dinov2"}}, overrides=["name=a"], find_preset=None)
assert "omegaconf" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_values_without_a_reference_are_left_alone():
    anything = object()
    data = {"a": "${b}", "b": 1, "c": r"\???", "d": anything}
    assert resolved(data) == {"a": 1, "b": 1, "c": r"\???", "d": anything}


def test_what_a_reference_brings_stands_at_the_reference():
    tree = interpolate(load_yaml("a:\n  b: 1\nc: ${a}\n", "s"))
    assert str(tree.value["c"].value["b"].place.span) == "s:3:4"
    assert str(tree.value["a"].value["b"].place.span) == "s:2:6"


def test_the_environment_stays_out(monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    for text in ("${oc.env:SECRET}", "${oc.decode:'${oc.env:SECRET}'}", r"\${oc.env:SECRET}", "${x}${y}"):
        try:
            result = str(resolved({"a": text, "b": "${a}", "x": "$", "y": "{oc.env:SECRET}"}))
        except ConfigError as error:
            result = str(error)
        assert "hunter2" not in result
    assert os.environ["SECRET"] == "hunter2"


def test_the_largest_that_references_may_make():
    assert len(resolved({"a": [0] * (MAX_NODES // 2 - 2), "b": "${a}"})["b"]) == MAX_NODES // 2 - 2


KEYS = st.sampled_from("abc")
PATHS = st.lists(KEYS | st.sampled_from(["0", "1"]), min_size=1, max_size=3).map(".".join)
REFERENCES = st.builds("${{{}{}}}".format, st.sampled_from(["", "", ".", "..", "..."]), PATHS)
TEXTS = REFERENCES | st.builds("{}x{}".format, REFERENCES, REFERENCES) | st.builds("\\{}".format, REFERENCES)
LEAVES = st.integers(0, 3) | st.none() | st.just("x") | TEXTS | REFERENCES
TREES = st.dictionaries(KEYS, nested(LEAVES, KEYS), max_size=3)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(TREES)
def test_the_same_is_resolved_and_the_same_is_refused_as_by_omegaconf(data):
    assume("${" in str(data))
    try:
        expected = OmegaConf.to_container(OmegaConf.create(data), resolve=True)
    except (OmegaConfBaseException, RecursionError):
        assert unresolved(data)
    else:
        assert resolved(data) == expected
