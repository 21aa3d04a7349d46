"""The JSON Schema against pydantic: they agree on every preset and on every fault that a schema can see."""

import copy
import json
import re
from pathlib import Path
from typing import Literal

import jsonschema
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.offenders import offenders

from vision_composer.errors import ConfigError
from vision_composer.presets import load_config, preset_names, preset_path
from vision_composer.schemas import (
    ENCODER_CONFIGS,
    ENCODER_PLUGINS,
    DenseEncoderConfig,
    TowerConfig,
    json_schema,
    load_tree,
    load_yaml,
)
from vision_composer.schemas.connectors import CONNECTOR_CONFIGS
from vision_composer.schemas.connectors.steps import STEP_CONFIGS
from vision_composer.schemas.json_schema import SCHEMA_ID, json_schema_text
from vision_composer.schemas.tiling import TILING_CONFIGS

BAD = Path(__file__).parent / "bad"
SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
ENCODER = {"model_type": "clip_vision_model"}
CONFIG = {"schema": 1, "encoder": ENCODER}
FUSED = {"schema": 1, "towers": {"dino": {"encoder": ENCODER}, "siglip": {"encoder": ENCODER}}}

# Problems that only a look at several values, at other files or at a default can find.
BEYOND_A_SCHEMA = {
    "adapter_without_source", "broken_base", "cost_table_unused", "environment_variable",
    "float_for_integer", "freeze_in_generic",
    "head_and_layers", "heads_do_not_divide", "image_processor_key", "image_processor_size",
    "layer_out_of_range", "list_over_mapping", "no_class_token",
    "no_head", "no_post_norm", "not_square", "parallel_compiled_tower", "revision_of_a_path",
    "revision_without_source", "rope_type", "sharded_and_balanced", "unfilled", "unknown_strategy",
    "weights_url",
}  # fmt: skip


def complaint(data):
    error = jsonschema.exceptions.best_match(VALIDATOR.iter_errors(data))
    return error and error.message


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"] == SCHEMA_ID


def test_every_preset_passes_as_written_and_as_merged():
    def check(name):
        assert complaint(load_yaml(preset_path(name).read_bytes(), name).plain()) is None
        assert complaint(load_config(name).to_dict()) is None

    assert offenders(check, preset_names()) == []


def faults_of_values():
    """The bad configs that can be read, and whose fault is in a value or a key of the file itself."""
    files = sorted(BAD.glob("*.yaml"))
    return [
        file
        for file in files
        if re.search(
            r"\[VC1\d\d\]$", file.with_suffix(".txt").read_text(encoding="utf-8"), flags=re.MULTILINE
        )
        and file.stem not in BEYOND_A_SCHEMA
        and not file.stem.startswith("override")
    ]


@pytest.mark.parametrize("file", faults_of_values(), ids=lambda file: file.stem)
def test_what_the_schema_can_see_both_refuse(file, monkeypatch):
    monkeypatch.chdir(BAD)
    plain = (
        load_tree(file.name, find_preset=preset_path).plain() if "root" not in file.stem else [{"schema": 1}]
    )
    with pytest.raises(pydantic.ValidationError):
        TowerConfig.model_validate(plain)
    assert complaint(plain)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        # An editor must point at the key that is wrong, not at the choice of family.
        ({**CONFIG, "encoder": {**ENCODER, "hiden_size": 1}}, "'hiden_size' was unexpected"),
        ({**CONFIG, "encoder": {**ENCODER, "hidden_size": "x"}}, "'x' is not of type 'integer'"),
        ({**CONFIG, "encoder": {"model_type": "clip"}}, "'clip' is not one of ["),
        ({**CONFIG, "encoder": {}}, "'model_type' is a required property"),
        ({**CONFIG, "encoder": {"model_type": "vivit", "prefix_tokens": -1}}, "-1 is less than the minimum"),
        ({**CONFIG, "encoder": [ENCODER]}, "is not of type 'object'"),
        ({**CONFIG, "compile": {"mode": "x"}}, "'x' is not one of ['default'"),
        ({**CONFIG, "select_layers": []}, "[] should be non-empty"),
        ({**CONFIG, "attn_backend": "x"}, "'x' is not one of ['auto'"),
        ({**CONFIG, "zzz": 1}, "'zzz' was unexpected"),
        ({"encoder": ENCODER}, "'schema' is a required property"),
        ({"schema": 1}, "'encoder' is a required property"),
        ({**FUSED, "towers": {"a": {"encoder": ENCODER}, "b": {}}}, "'encoder' is a required property"),
        ({**FUSED, "towers": {"a": "x", "b": {"extends": "tiny-digits", "x": 1}}}, "'x' was unexpected"),
        ({**FUSED, "towers": {"a": "tiny-digits", "b": {"extends": "tiny-digits", "head": True}}}, None),
        ({**FUSED, "towers": {"A b": "tiny-digits"}}, "'A b' does not match"),
        ({**FUSED, "select_layers": [-2]}, "False schema does not allow [-2]"),
        ({**FUSED, "encoder": ENCODER}, "False schema does not allow"),
        ({**FUSED, "output": "tiles"}, "'tiles' is not one of ['features', 'embeds']"),
        ({**FUSED, "fuse": "sum", "align": {"grid": [4]}}, "[4] is too short"),
        ({**CONFIG, "fuse": "sum"}, "False schema does not allow 'sum'"),
        ({"extends": "openvla/7b", "fuse": "sum"}, None),
        ({"extends": []}, None),
        ({"extends": "clip/vit-base-patch16", "encoder": {"hidden_size": 64}}, None),
        ({"extends": ["./a.yaml"], "encoder": {**ENCODER, "hiden_size": 1}}, "'hiden_size' was unexpected"),
        ({"extends": 5}, "5 is not valid under any of the given schemas"),
        ({**CONFIG, "encoder": {"model_type": "vivit", "prefix_tokens": 1, "anything": [1]}}, None),
        ({**CONFIG, "encoder": {**ENCODER, "prefix_tokens": 1, "anything": [1]}}, None),
        ({**CONFIG, "feature_select_strategy": "my_own"}, None),
        ({**CONFIG, "compile": True, "select_layers": [-2], "weights": {"source": "a/b"}}, None),
    ],
)  # fmt: skip
def test_what_an_editor_says(data, message):
    said = complaint(data)
    assert said == message or (message is not None and message in said)


@pytest.mark.parametrize("name", ENCODER_CONFIGS)
def test_every_key_of_a_family_is_described(name):
    fields = SCHEMA["$defs"][ENCODER_CONFIGS[name].__name__]["properties"]
    assert set(fields) == set(ENCODER_CONFIGS[name].model_fields)
    assert [key for key, field in fields.items() if not field.get("description")] == ["model_type"] * (
        "description" not in fields["model_type"]
    )
    assert all("default" in field for key, field in fields.items() if key != "model_type")


def test_a_plugin_may_call_its_class_as_we_call_ours():
    class CLIPVisionEncoderConfig(DenseEncoderConfig):
        """Not CLIP's."""

        model_type: Literal["mine"]
        seams: int

    before = json_schema(plugins=True)
    ENCODER_PLUGINS.register("mine", (CLIPVisionEncoderConfig, object))
    try:
        schema = json_schema(plugins=True)
    finally:
        ENCODER_PLUGINS.unregister("mine")
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid({**CONFIG, "encoder": {"model_type": "mine", "seams": 1}})
    assert not validator.is_valid({**CONFIG, "encoder": {"model_type": "mine"}})
    assert not validator.is_valid({**CONFIG, "encoder": {**ENCODER, "seams": 1}})
    assert validator.is_valid({**CONFIG, "encoder": {**ENCODER, "projection_dim": 1}})
    assert json_schema() == SCHEMA
    assert json_schema(plugins=True) == before


MINIMAL = {
    **{model.__name__: {"model_type": name} for name, model in ENCODER_CONFIGS.items()},
    "GenericEncoderConfig": {"model_type": "vit", "prefix_tokens": 1},
}


CONNECTORS = {block.__name__: {"type": name, "hidden_size": 64} for name, block in CONNECTOR_CONFIGS.items()}
LINEAR = {"type": "linear", "width": 64}
STEPS = {block.__name__: {"type": name} for name, block in STEP_CONFIGS.items()}
TILINGS = {block.__name__: {"type": name} for name, block in TILING_CONFIGS.items()}


def smallest(name, values):
    """The smallest config around ``values`` of the block that a definition of the schema describes."""
    if name == "ProjectConfig":
        return {**FUSED, "project": {"dino": {"width": 64, **values}}}
    if name in STEPS:
        needed = {"width": 64} if "width" in STEP_CONFIGS[STEPS[name]["type"]].model_fields else {}
        return smallest("StepsConnectorConfig", {"steps": [STEPS[name] | needed | values, LINEAR]})
    if name == "StepsConnectorConfig":
        values = {"steps": [LINEAR | {"width": values.get("hidden_size", 64)}], **values}
    if set(values) & {"height", "width"}:
        values = {"height": 336, "width": 336, **values}
    if "adapter_revision" in values:
        values = {"adapter": "someone/lora", **values}
    if name in MINIMAL:
        return {**CONFIG, "encoder": {**MINIMAL[name], **values}}
    for key, blocks in (("connector", CONNECTORS), ("tiling", TILINGS)):
        if name in blocks:
            return {**CONFIG, key: {**blocks[name], **values}}
    for key, field in SCHEMA["properties"].items():
        if key != "encoder" and f"/{name}" in json.dumps(field):
            start = next(example for example in field["examples"] if isinstance(example, dict))
            return around(key, {**start, **values})
    for family in (*MINIMAL, *CONNECTORS, *TILINGS, "ImageProcessorConfig"):
        for key, field in SCHEMA["$defs"][family]["properties"].items():
            if f"/{name}" in json.dumps(field):
                start = field["examples"][0] if name == "SourceConfig" else {}
                return smallest(family, {key: {**start, **values}})
    raise LookupError(f"no field of the schema is a {name}")


def around(key, value):
    """The smallest config with a key of one tower, or else of several."""
    names = {field.alias or name for name, field in TowerConfig.model_fields.items()} | {"extends"}
    return {**(CONFIG if key in names else FUSED), key: value}


def examples():
    configs = {name: {**CONFIG, "encoder": {"model_type": name}} for name in ENCODER_CONFIGS}
    fields = [("", *item) for item in SCHEMA["properties"].items()]
    for name, definition in SCHEMA["$defs"].items():
        if name == "TowerConfig":  # its keys are the root's
            continue
        fields += [(name, *item) for item in definition["properties"].items()]
    for name, key, field in fields:
        assert field["examples"], f"{name}.{key} has no example"
        for i, example in enumerate(field["examples"]):
            values = {key: example}
            configs[f"{name}.{key}[{i}]"] = smallest(name, values) if name else around(key, example)
    return configs


def test_every_example_is_valid(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "float16.yaml").write_text("weights: {dtype: float16}\n")
    assert {name: said for name, config in examples().items() if (said := complaint(config))} == {}
    for config in examples().values():
        load_config(config)  # whose errors name the key


FAMILIES = st.sampled_from(list(ENCODER_CONFIGS))
VALUES = st.sampled_from(
    [None, True, 0, 1, 2, -1, 64, 0.5, "x", "gelu", "default", [], [1], [32, 32], {}, {"mode": "default"}]
)


@settings(max_examples=400, deadline=None)
@given(st.data(), FAMILIES)
def test_one_changed_value_is_judged_alike(data, family):
    """What pydantic takes, the schema takes; what the schema takes, only our own rules refuse."""
    config = copy.deepcopy({**CONFIG, "encoder": {"model_type": family}, "weights": {}})
    blocks = {
        "": [field.alias or name for name, field in TowerConfig.model_fields.items()],
        "encoder": list(ENCODER_CONFIGS[family].model_fields),
        "weights": list(TowerConfig.model_fields["weights"].annotation.model_fields),
    }
    block = data.draw(st.sampled_from(list(blocks)))
    key = data.draw(st.sampled_from(blocks[block]) | st.just("unknown"))
    (config[block] if block else config)[key] = data.draw(VALUES)
    try:
        TowerConfig.model_validate(config)
    except pydantic.ValidationError as error:
        rules = all(
            line["type"].startswith("VC2") or re.search(r"without an? (source|adapter)", line["msg"])
            for line in error.errors()
        )
        # A pair of equal sizes stands for one; that they are equal no schema can say.
        unequal = isinstance(config["encoder"], dict) and [32, 32] in config["encoder"].values()
        assert rules or unequal or complaint(config)
    else:
        assert complaint(config) is None


def test_the_schema_is_plain_json():
    assert json.loads(json_schema_text()) == SCHEMA


def test_load_config_refuses_what_the_fixtures_beyond_a_schema_hold(monkeypatch):
    monkeypatch.chdir(BAD)
    for stem in BEYOND_A_SCHEMA:
        with pytest.raises(ConfigError):
            load_config(f"{stem}.yaml")
