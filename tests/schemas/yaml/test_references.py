"""References are found without resolving any, and refused unless each is plain and leads somewhere."""

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from support.loading import resolved, unresolved

from vision_composer.errors import ConfigError
from vision_composer.schemas.yaml.references import references


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
    first = unresolved(data)[0]
    assert (first.code, first.path) == ("VC008", path)
    assert message in first.message


def test_every_wrong_reference_is_found_at_once():
    problems = unresolved({"a": "${x}", "b": "${oc.env:HOME} ", "c": "${d} ${e}", "d": 1})
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

    # Hydra registers names of its own, without this prefix, as soon as anything imports it.
    assert sorted(name for name in BaseContainer._resolvers if name.startswith("oc.")) == DEFAULT_RESOLVERS


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
    problems = unresolved({"a": "1", "b": text.replace("NAME", name)})
    assert [(problem.code, problem.path) for problem in problems] == [("VC008", "b")]
    assert "resolver" in problems[0].message


@pytest.mark.parametrize("text", ["${${a}:1}", "${a${b}:1}", "${unknown:x}", "${ns.unknown:x}", "${_:}"])
def test_no_resolver_however_it_is_named(text):
    assert unresolved({"a": "oc.env", "b": text})[0].code == "VC008"


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
    problems = unresolved(data)
    assert {problem.code for problem in problems} == {"VC006"}
    assert "reference" in problems[0].message  # not for what the config holds without them


def test_a_reference_counts_for_several_levels():
    def chain(links):
        return {**{f"a{i}": f"${{a{i + 1}}}" for i in range(links)}, f"a{links}": 1}

    assert resolved(chain(10))["a0"] == 1
    assert {problem.code for problem in unresolved(chain(20))} == {"VC006"}


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
