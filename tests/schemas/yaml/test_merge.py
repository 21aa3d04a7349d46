import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from support.strategies import nested

from vision_composer.errors import ConfigError
from vision_composer.schemas import load_yaml
from vision_composer.schemas.yaml.merge import merge
from vision_composer.schemas.yaml.nodes import from_python


def trees(leaves):
    keys = st.sampled_from("abc")
    return st.dictionaries(keys, nested(leaves, keys, most=8), max_size=3)


def ours(*layers):
    tree = from_python({})
    for layer in layers:
        tree = merge(tree, from_python(layer))
    return tree.plain()


def omegaconfs(*layers):
    return OmegaConf.to_container(OmegaConf.merge(*map(OmegaConf.create, layers)))


LEAVES = st.integers(0, 3) | st.booleans() | st.none() | st.sampled_from(["x", "", "${z}", "x${.b}"])


@settings(max_examples=200, deadline=None)
@given(trees(LEAVES), trees(LEAVES), trees(LEAVES))
def test_merge_is_omegaconfs(a, b, c):
    try:
        expected = omegaconfs(a, b, c)
    except TypeError:  # its untyped error for a list that meets a mapping
        with pytest.raises(ConfigError):
            ours(a, b, c)
    else:
        assert ours(a, b, c) == expected


@settings(deadline=None)
@given(trees(LEAVES))
def test_merge_laws(a):
    assert ours(a, a) == ours(a) == a


@pytest.mark.parametrize(
    ("base", "top", "message"),
    [
        ("a: {b: {c: 1}}", "a: {b: [1]}", "a list cannot replace the mapping at base:1:8; "),
        ("\na: [1]", "a: {b: 1}", "a mapping cannot replace the list at base:2:4; "),
    ],
)
def test_list_against_mapping_names_both_positions(base, top, message):
    with pytest.raises(ConfigError) as caught:
        merge(load_yaml(base, "base"), load_yaml(top, "top"))
    (problem,) = caught.value.problems
    assert problem.message.startswith(message)
    assert problem.span.source == "top"
    assert problem.code == "VC103"


def test_null_clears_what_a_list_could_not_replace():
    assert ours({"a": {"b": 1}}, {"a": None}, {"a": [1]}) == {"a": [1]}


def test_a_mapping_replaces_a_reference():
    # OmegaConf would first copy what the reference means at this moment, which a later layer may change.
    assert ours({"a": {"b": 1}, "c": "${a}"}, {"c": {"d": 2}})["c"] == {"d": 2}


def test_another_model_type_replaces_the_encoder_block_and_no_other():
    clip = {
        "encoder": {"model_type": "clip_vision_model", "projection_dim": 4},
        "weights": {"dtype": "float16"},
    }
    assert ours(clip, {"encoder": {"model_type": "dinov2"}}) == {
        "encoder": {"model_type": "dinov2"},
        "weights": {"dtype": "float16"},
    }
    same = {"model_type": "clip_vision_model", "hidden_size": 8}
    assert ours(clip, {"encoder": same})["encoder"] == {**same, "projection_dim": 4}
    assert ours(clip, {"encoder": {"hidden_size": 8}})["encoder"] == {**same, "projection_dim": 4}
    assert ours({"x": {"encoder": {"model_type": "a", "b": 1}}}, {"x": {"encoder": {"model_type": "c"}}}) == {
        "x": {"encoder": {"model_type": "c", "b": 1}}
    }


def test_the_last_writer_has_the_position():
    base = load_yaml("a: 1\nb: 2\nblock:\n  c: 3", "base")
    tree = merge(base, load_yaml("b: 4\nblock: {d: 5}", "top"))
    assert [str(tree.value[key].place.span) for key in ("a", "b")] == ["base:1:4", "top:1:4"]
    block = tree.value["block"]
    assert [str(block.value[key].place.span) for key in ("c", "d")] == ["base:4:6", "top:2:12"]
    assert str(block.key.span) == "top:2:1"


def test_merging_changes_neither_layer():
    base, top = load_yaml("a: {b: 1}", "base"), load_yaml("a: {b: 2}", "top")
    merge(base, top)
    assert base.plain() == {"a": {"b": 1}}
    assert top.plain() == {"a": {"b": 2}}
