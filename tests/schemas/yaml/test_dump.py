"""YAML written by this package and read by it again: the identity."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import nested

from vision_composer.presets import load_config
from vision_composer.schemas import ENCODER_CONFIGS, load_tree, load_yaml
from vision_composer.schemas.base import escape_references
from vision_composer.schemas.yaml.dump import to_yaml

PRINTABLE = st.text(st.characters(exclude_categories=["C"], include_characters="\t\n\x85"), max_size=30)
TEXTS = st.one_of(
    PRINTABLE,
    st.text("\\${}.:#-'\" ab", max_size=12),
    st.sampled_from(
        ["no", "1e5", "0o17", "0x1F", "017", "null", "~", "", ".inf", "1_000", "-", "=", "<<", "a: b"]
    ),
).filter(lambda text: text != "???")
SCALARS = st.one_of(
    TEXTS,
    st.none(),
    st.booleans(),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
KEYS = st.text(
    st.characters(exclude_categories=["C"], exclude_characters="."), min_size=1, max_size=9
).filter(lambda key: key != "<<")
VALUES = st.dictionaries(KEYS, nested(SCALARS, KEYS), min_size=1, max_size=4)


@settings(deadline=None)
@given(VALUES)
def test_values_survive(values):
    text = to_yaml(escape_references(values))
    values.pop("extends", None)
    tree = load_yaml(text, "s")
    tree.value.pop("extends", None)
    assert load_tree(tree, find_preset=lambda name: None).plain() == values


@st.composite
def configs(draw):
    dense = sorted(name for name, config in ENCODER_CONFIGS.items() if not (config.packed or config.tiled))
    model_type = draw(st.sampled_from(dense))
    heads = draw(st.integers(1, 8))
    patch = draw(st.integers(1, 16))
    depth = draw(st.integers(1, 40))
    encoder = {
        "model_type": model_type,
        "num_attention_heads": heads,
        "hidden_size": heads * 4 * draw(st.integers(1, 30)),
        "num_hidden_layers": depth,
        "patch_size": patch,
        "image_size": patch * draw(st.integers(1, 30)),
    }
    if model_type == "molmo2_vision":
        encoder["num_key_value_heads"] = heads
    layer = st.integers(-depth - 1, depth)
    optional = {
        "name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True),
        "summary": TEXTS,
        "license": TEXTS,
        "select_layers": st.none() | st.lists(layer, min_size=1, max_size=4),
        "feature_select_strategy": st.sampled_from(["default", "full"]),
        "post_norm": st.sampled_from(["auto", "none"]),
        "attn_backend": st.sampled_from(["auto", "sdpa"]),
        "compile": st.booleans() | st.just({"mode": "max-autotune", "dynamic": None}),
        "weights": st.fixed_dictionaries(
            {}, optional={"dtype": st.sampled_from(["float16", "bfloat16"]), "source": st.just("org/model")}
        ),
    }
    config = draw(
        st.fixed_dictionaries({"schema": st.just(1), "encoder": st.just(encoder)}, optional=optional)
    )
    if config.get("select_layers") is None:
        config.pop("post_norm", None)  # a merger may insist on it
    return config


@settings(deadline=None)
@given(configs())
def test_configs_survive(values):
    config = load_config(escape_references(values))
    for source in (config.to_dict(), load_yaml(to_yaml(config.to_dict()), "s").plain()):
        again = load_config(source)
        assert again == config
        assert again.to_dict() == config.to_dict()
    resolved = load_config(load_yaml(to_yaml(config.resolved()), "s").plain())
    assert resolved.resolved() == config.resolved()


@pytest.mark.parametrize("text", ["${a}", "\\${a}", "\\\\${a} ${", "x\\", "$", "${"])
def test_what_looks_like_a_reference_is_none(text):
    tree = load_yaml(to_yaml(escape_references({"a": 1, "b": text})), "s")
    assert load_tree(tree, find_preset=lambda name: None).plain()["b"] == text


@pytest.mark.parametrize("text", ["a\x85b", "\x85", "1\u2028 \u2029b", " \x85\n\x85 "])
def test_separators_that_yaml_1_1_folds_survive(text):
    assert load_yaml(to_yaml({"a": text}), "s").plain() == {"a": text}
