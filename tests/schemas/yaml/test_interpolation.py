import os
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from support.strategies import nested

from vision_composer.errors import ConfigError
from vision_composer.schemas import load_yaml
from vision_composer.schemas.yaml.interpolation import interpolate
from vision_composer.schemas.yaml.nodes import MAX_NODES, from_python
from vision_composer.schemas.yaml.references import references


def resolved(data):
    return interpolate(from_python(data)).plain()


def refused(data):
    with pytest.raises(ConfigError) as caught:
        interpolate(from_python(data))
    return caught.value.problems


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


@pytest.mark.parametrize(
    ("data", "path", "message"),
    [
        ({"a": "${b}"}, "a", "${b} refers to nothing"),
        ({"a": {"name": "${b.nam}"}, "b": {"name": 1}}, "a.name", "did you mean 'name'"),
        ({"a": ["${b}"]}, "a[0]", "refers to nothing"),
        ({"a": "${b[2]}", "b": [1, 2]}, "a", "refers to nothing"),
        ({"a": "${b[-1]}", "b": [1, 2]}, "a", "refers to nothing"),
        ({"a": "${b.x}", "b": [1, 2]}, "a", "refers to nothing"),
        ({"a": "${b.x}", "b": "text"}, "a", "refers to nothing"),
        ({"a": "${...b}", "b": 1}, "a", "refers to nothing"),
        ({"a": "${a}"}, "a", "refers to itself"),
        ({"a": "${b}", "b": "${c}", "c": "x${a}"}, "a", "refers to itself"),
        ({"a": {"b": "${a}"}}, "a", "refers to itself"),
        ({"a": {"b": "${.}"}}, "a.b", "cannot be read as references"),
        ({"a": "${b.c}", "b": "${b.c}"}, "a", "refers to nothing"),
        ({"a": "${b"}, "a", "cannot be read as references"),
        ({"a": "${}"}, "a", "cannot be read as references"),
        ({"a": "${b c}", "b c": 1}, "a", "cannot be read as references"),
        ({"a": "${b.${c}}", "b": {"x": 1}, "c": "x"}, "a", "stands inside another reference"),
        ({"a": "${b" + "x" * 2_000 + "}"}, "a", "longer than"),
        ({"a": "${" * 300}, "a", "reference"),
    ],
)
def test_refusals(data, path, message):
    first = refused(data)[0]
    assert (first.code, first.path) == ("VC008", path)
    assert message in first.message


def test_every_wrong_reference_is_found_at_once():
    problems = refused({"a": "${x}", "b": "${oc.env:HOME} ", "c": "${d} ${e}", "d": 1})
    assert [problem.path for problem in problems] == ["a", "b", "c"]


DEFAULT_RESOLVERS = sorted(
    name
    for name in (
        "oc.env",
        "oc.create",
        "oc.decode",
        "oc.deprecated",
        "oc.dict.keys",
        "oc.dict.values",
        "oc.select",
        "oc.coerce",
    )
    if OmegaConf.has_resolver(name)
)


def test_the_default_resolvers_are_all_known():
    from omegaconf.basecontainer import BaseContainer

    assert sorted(BaseContainer._resolvers) == DEFAULT_RESOLVERS


@pytest.mark.parametrize("name", DEFAULT_RESOLVERS)
@pytest.mark.parametrize(
    "text",
    [
        "${NAME:a}",
        "${ NAME : a }",
        "${NAME:}",
        "x${a}${NAME:a,b}",
        "${a.${NAME:a}}",
        "${NAME:${NAME:a}}",
        "${NAME:{a:1}}",
    ],
)
def test_no_resolver_is_called(name, text, monkeypatch):
    monkeypatch.setattr(OmegaConf, "create", None)  # refused before anything could be resolved
    problems = refused({"a": "1", "b": text.replace("NAME", name)})
    assert [(problem.code, problem.path) for problem in problems] == [("VC008", "b")]
    assert "resolver" in problems[0].message


@pytest.mark.parametrize("text", ["${${a}:1}", "${a${b}:1}", "${unknown:x}", "${ns.unknown:x}", "${_:}"])
def test_no_resolver_however_it_is_named(text):
    assert refused({"a": "oc.env", "b": text})[0].code == "VC008"


def test_the_environment_stays_out(monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    for text in ("${oc.env:SECRET}", "${oc.decode:'${oc.env:SECRET}'}", r"\${oc.env:SECRET}", "${x}${y}"):
        try:
            result = str(resolved({"a": text, "b": "${a}", "x": "$", "y": "{oc.env:SECRET}"}))
        except ConfigError as error:
            result = str(error)
        assert "hunter2" not in result
    assert os.environ["SECRET"] == "hunter2"


@pytest.mark.parametrize(
    "data",
    [
        {**{f"a{i}": f"${{a{i + 1}}}" * 10 for i in range(20)}, "a20": "x"},
        {
            **{f"a{i}": {"x": f"${{a{i + 1}}}", "y": f"${{a{i + 1}}}"} for i in range(10)},
            "a10": list(range(1_000)),
        },
        {"a": "x" * 4_000, "b": ["${a}"] * 400},
        {**{f"a{i}": f"${{a{i + 1}}}" for i in range(400)}, "a400": 1},
        {
            "a": "${b}",
            "b": [[[["${c}"]]]],
            "c": {"d": "${e}"},
            **{f"e{i or ''}": [[[[f"${{e{i + 1}}}"]]]] for i in range(20)},
            "e20": 1,
        },
        {f"k{i}": "${x}" for i in range(5_000)} | {"x": 1},
    ],
    ids=["text doubled", "trees doubled", "long text", "long chain", "deep", "many"],
)
def test_references_cannot_multiply_a_config(data):
    problems = refused(data)
    assert {problem.code for problem in problems} == {"VC006"}
    assert "reference" in problems[0].message  # not for what the config holds without them


def test_a_reference_counts_for_several_levels():
    def chain(links):
        return {**{f"a{i}": f"${{a{i + 1}}}" for i in range(links)}, f"a{links}": 1}

    assert resolved(chain(10))["a0"] == 1
    assert {problem.code for problem in refused(chain(20))} == {"VC006"}


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
        assert refused(data)
    else:
        assert resolved(data) == expected


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text("${}ab.:[]\\ '\"0-_,", max_size=25) | st.text(max_size=20))
def test_any_text(text):
    try:
        found, alone = references(text)
    except ValueError:
        pass
    else:
        assert all(reference.text in text for reference in found)
        assert alone == (len(found) == 1 and found[0].text == text)
    with suppress(ConfigError):
        resolved({"a": text, "b": 1})
