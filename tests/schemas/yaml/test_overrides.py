import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from vision_composer.errors import ConfigError
from vision_composer.schemas import load_yaml
from vision_composer.schemas.yaml.nodes import from_python
from vision_composer.schemas.yaml.overrides import apply_override

TREE = """\
schema: 1
encoder: {model_type: clip_vision_model, hidden_size: 64}
weights: {source: a/b, revision: main}
select_layers: [-2, [7, {a: 1}]]
compile: true
"""


def overridden(*overrides, tree=TREE):
    node = load_yaml(tree, "file")
    for override in overrides:
        node = apply_override(node, override)
    return node


def refused(*overrides):
    with pytest.raises(ConfigError) as caught:
        overridden(*overrides)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("name=x", ["name"], "x"),
        ("name=no", ["name"], "no"),
        ("name=017", ["name"], "017"),
        ("name='1'", ["name"], "1"),
        ("name=", ["name"], None),
        ("name=''", ["name"], ""),
        ("name=a=b", ["name"], "a=b"),
        ("name=a: b", ["name"], {"a": "b"}),
        ("name= x ", ["name"], "x"),
        ("name=ünï 🜂", ["name"], "ünï 🜂"),
        ("encoder.hidden_size=128", ["encoder"], {"model_type": "clip_vision_model", "hidden_size": 128}),
        ("encoder={hidden_size: 128}", ["encoder"], {"model_type": "clip_vision_model", "hidden_size": 128}),
        ("encoder={model_type: dinov2}", ["encoder"], {"model_type": "dinov2"}),
        ("encoder.model_type=dinov2", ["encoder"], {"model_type": "dinov2"}),
        ("encoder.model_type=clip_vision_model", ["encoder", "hidden_size"], 64),
        ("compile.mode=default", ["compile"], {"mode": "default"}),
        ("new.block.key=[1, {a: 2}]", ["new"], {"block": {"key": [1, {"a": 2}]}}),
        ("select_layers=[-1]", ["select_layers"], [-1]),
        ("select_layers[0]=-3", ["select_layers", 0], -3),
        ("select_layers.0=-3", ["select_layers", 0], -3),
        ("select_layers[1][1].a=2", ["select_layers", 1], [7, {"a": 2}]),
        ("select_layers.1.1.b=2", ["select_layers", 1], [7, {"a": 1, "b": 2}]),
        ("~weights.revision", ["weights"], {"source": "a/b"}),
        ("~select_layers[0]", ["select_layers"], [[7, {"a": 1}]]),
        ("~select_layers.1.1.a", ["select_layers", 1], [7, {}]),
    ],
)
def test_one_override(override, path, value):
    result = overridden(override).plain()
    for part in path:
        result = result[part]
    assert result == value
    assert type(result) is type(value)


def test_overrides_apply_in_order():
    assert overridden("name=a", "name=b", "~name", "name=c").plain()["name"] == "c"


def test_what_is_not_overridden_keeps_its_value_and_position():
    before, after = overridden(), overridden("encoder.hidden_size=1")
    assert {**after.plain(), "encoder": None} == {**before.plain(), "encoder": None}
    kept, changed = before.value["encoder"], after.value["encoder"]
    assert (changed.key.span, changed.place.span) == (kept.key.span, kept.place.span)
    assert changed.value["model_type"].place.span == kept.value["model_type"].place.span


def test_an_overridden_value_stands_in_the_override():
    node = overridden("compile.mode=[x, y]").value["compile"].value["mode"]
    assert str(node.place.span) == "override 'compile.mode=[x, y]':1:14"
    assert str(node.key.span) == "override 'compile.mode=[x, y]':1:9"
    assert str(node.value[1].place.span) == "override 'compile.mode=[x, y]':1:18"


@pytest.mark.parametrize(
    ("override", "code", "column", "message"),
    [
        ("", "VC009", 1, "key=value"),
        ("name", "VC009", 1, "key=value"),
        ("~name=x", "VC009", 1, "key=value"),
        ("=x", "VC009", 1, "cannot read the key"),
        ("a..b=x", "VC009", 1, "cannot read the key"),
        ("a b=x", "VC009", 1, "cannot read the key"),
        ("a[x]=1", "VC009", 1, "cannot read the key"),
        ("~a[-1]", "VC009", 2, "cannot read the key"),
        (".".join("a" * 2_000) + "=1", "VC009", 1, "cannot read the key"),
        ("extends=clip", "VC009", 1, "extends"),
        ("~extends", "VC009", 2, "extends"),
        ("~encoder.hiden_size", "VC009", 10, "did you mean 'hidden_size'"),
        ("~compile.mode", "VC009", 10, "nothing to remove"),
        ("~select_layers[2]", "VC009", 15, "list of 2"),
        ("select_layers[2]=1", "VC009", 14, "list of 2"),
        ("select_layers[1][2]=1", "VC009", 17, "select_layers[1] is a list of 2"),
        ("select_layers.x=1", "VC009", 15, "list of 2"),
        ("select_layers.999999999999999999=1", "VC009", 15, "list of 2"),
        ("weights[0]=1", "VC009", 8, "no list"),
        ("absent[0]=1", "VC009", 7, "no list"),
        ("encoder=[1]", "VC103", 9, "mapping at file:2:10"),
        ("select_layers={a: 1}", "VC103", 15, "list at file:4:16"),
        ("a=[1", "VC002", 5, "expected"),
        ("a=\tb: c", "VC002", 3, "tab"),
        ("a=!!str x", "VC005", 3, "tag"),
        ("a={b: 1, b: 2}", "VC003", 10, "duplicate"),
        ("a=.nan", "VC006", 3, "finite"),
    ],
)
def test_refusals(override, code, column, message):
    problem = refused(override)
    assert (problem.code, problem.span.column) == (code, column)
    assert message in str(problem)
    assert problem.span.source.startswith("override ")


PARTS = st.sampled_from("abc")
SCALARS = st.integers(-3, 3) | st.booleans() | st.none() | st.sampled_from(["x", "y"])
TREES = st.dictionaries(
    PARTS,
    st.recursive(SCALARS, lambda inner: st.dictionaries(PARTS, inner, max_size=3), max_leaves=8),
    max_size=3,
)


@settings(max_examples=200, deadline=None)
@given(TREES, st.lists(PARTS, min_size=1, max_size=3), SCALARS | st.dictionaries(PARTS, SCALARS, max_size=2))
def test_overrides_are_omegaconfs_update(tree, path, value):
    config = OmegaConf.create(tree)
    try:
        OmegaConf.update(config, ".".join(path), value, force_add=True)
    except Exception:  # it cannot put a key below a scalar; here that makes a mapping
        assume(False)
    override = f"{'.'.join(path)}={json.dumps(value)}"
    assert apply_override(from_python(tree), override).plain() == OmegaConf.to_container(config)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text("ab.=~[]{}01-:'\"#&*! \n\t$é", max_size=20) | st.text(max_size=20))
def test_any_text(override):
    with suppress(ConfigError):
        overridden(override)
