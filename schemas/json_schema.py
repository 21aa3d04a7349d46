"""The JSON Schema of a config file, for editors; ``load_config`` stays the authority on what is valid.

The encoder block is a choice by ``model_type`` written as ``if``/``then``, not as the union that pydantic
would write: so an editor completes the keys of the family at hand, and complains about the key that is
wrong. A number written as a reference (``${a.b}``) is a string to an editor, which will mark it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema
from pydantic_core.core_schema import ModelSchema

from ..registry import Registry
from .base import ConfigModel
from .config import FEATURE_SELECT_STRATEGIES, FEATURE_SELECTOR_PLUGINS, TowerConfig
from .connectors import CONNECTOR_CONFIGS
from .connectors.steps import STEP_CONFIGS, StepsConnectorConfig
from .descriptions import field_descriptions
from .encoders import (
    ENCODER_CONFIGS,
    ENCODER_PLUGINS,
    EncoderConfig,
    GenericEncoderConfig,
)
from .fusion import MAX_TOWERS, TOWER_NAME, FusedConfig
from .processor_classes import PROCESSOR_CLASSES
from .reduce import REDUCE_CONFIGS
from .root import ATTENTION_BACKEND_PLUGINS, ATTN_BACKENDS
from .tiling import TILING_CONFIGS
from .typed import TypedBlock

SCHEMA_ID = "https://vision-composer.dev/schemas/vision-composer-1.json"

_Json = dict[str, Any]


class _Generator(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: object) -> bool:
        return False  # "Hidden Size" says nothing that "hidden_size" does not

    def model_schema(self, schema: ModelSchema) -> _Json:
        made = super().model_schema(schema)
        model: type[ConfigModel] = schema["cls"]
        for name, text in field_descriptions(model).items():
            made["properties"][model.model_fields[name].alias or name].setdefault("description", text)
        return made

    def function_plain_schema(self, schema: object) -> _Json:
        return {}  # the encoder, filled in below; older versions of pydantic raise here


def json_schema(*, plugins: bool = False) -> _Json:
    """The schema of a config file, JSON Schema 2020-12.

    Args:
        plugins: Whether it has what plugins add: those that are installed, and what has been registered.

    Raises:
        PluginError: If a plugin that offers an encoder cannot be used.
    """
    added = _plugin_families() if plugins else {}
    blocks: list[type[EncoderConfig]] = [GenericEncoderConfig, *ENCODER_CONFIGS.values(), *added.values()]
    encoders = list(dict.fromkeys(blocks))
    typed = [*CONNECTOR_CONFIGS.values(), *STEP_CONFIGS.values(), *TILING_CONFIGS.values()]
    typed += REDUCE_CONFIGS.values()
    references, definitions = _definitions([TowerConfig, FusedConfig, *encoders, *typed])
    for definition in definitions.values():
        _exemplify_fields(definition)
    root = definitions.pop(_name(references[TowerConfig]))
    fused = definitions.pop(_name(references[FusedConfig]))
    properties = root["properties"]
    families = {name: references[block] for name, block in (ENCODER_CONFIGS | added).items()}
    properties["encoder"] |= _encoder(families, references[GenericEncoderConfig])
    properties["connector"]["anyOf"][0] = _by_type(CONNECTOR_CONFIGS, references)
    properties["tiling"]["anyOf"] = [{"const": "none"}, _by_type(TILING_CONFIGS, references)]
    properties["reduce"]["anyOf"] = [_by_type(REDUCE_CONFIGS, references), {"type": "null"}]
    steps = definitions[_name(references[StepsConnectorConfig])]["properties"]["steps"]
    steps |= {"items": _by_type(STEP_CONFIGS, references), "minItems": 1}
    properties["select_layers"]["anyOf"][0]["minItems"] = 1
    properties["attn_backend"]["enum"] = _names(("auto", *ATTN_BACKENDS), ATTENTION_BACKEND_PLUGINS, plugins)
    strategies = _names(FEATURE_SELECT_STRATEGIES, FEATURE_SELECTOR_PLUGINS, plugins)
    # An open choice: an editor offers these, and others may be registered.
    properties["feature_select_strategy"]["anyOf"] = [{"enum": strategies}, {"type": "string"}]
    definitions["ImageProcessorConfig"]["properties"]["type"]["anyOf"][0]["enum"] = [*PROCESSOR_CLASSES]
    freeze = definitions["TrainingConfig"]["properties"]["freeze"]
    freeze["anyOf"] = [freeze["items"], {"type": freeze.pop("type"), "items": freeze.pop("items")}]
    required = [root.pop("required"), fused["required"]]
    properties = {"schema": properties.pop("schema"), "extends": _EXTENDS, **properties}
    definitions["TowerConfig"] = {**root, "properties": properties}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **root,
        "properties": properties | _fused_only(fused["properties"], properties),
        "if": {"required": ["extends"]},
        "else": {
            "if": {"required": ["towers"]},
            "then": {
                "required": required[1],
                "properties": {
                    **_refused(properties, beside={*fused["properties"], "extends"}),
                    "output": fused["properties"]["output"],
                    "towers": {
                        "minProperties": 2,
                        "maxProperties": MAX_TOWERS,
                        "additionalProperties": {"if": {"type": "object"}, "then": _COMPLETE_TOWER},
                    },
                },
            },
            "else": {
                "required": required[0],
                "properties": {
                    **_refused(fused["properties"], beside=properties),
                    "encoder": {"required": ["model_type"]},
                },
            },
        },
        "$defs": definitions,
    }


def json_schema_text(*, plugins: bool = False) -> str:
    """The schema as it is written to ``schemas/json/vision-composer-1.json``, which has no plugins."""
    return json.dumps(json_schema(plugins=plugins), indent=2, ensure_ascii=False) + "\n"


_COMPLETE_TOWER: _Json = {
    "if": {"required": ["extends"]},
    "else": {"required": ["encoder"], "properties": {"encoder": {"required": ["model_type"]}}},
}
_EXTENDS = {
    "description": "Presets, or paths relative to this file, to lie under it: mappings merge.",
    "examples": ["clip/vit-large-patch14-336", ["llava-1.5-7b", "./float16.yaml"]],
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 16},
    ],
}


def _refused(keys: Iterable[str], *, beside: Collection[str]) -> _Json:
    """Refuse the keys of the other kind of config."""
    return {key: False for key in keys if key not in beside}


def _fused_only(fused: _Json, single: _Json) -> _Json:
    """The keys that only a config of several towers has."""
    own = {key: value for key, value in fused.items() if key not in single}
    tower = {"anyOf": [{"type": "string", "minLength": 1}, {"$ref": "#/$defs/TowerConfig"}]}
    own["towers"] |= {"additionalProperties": tower, "propertyNames": {"pattern": TOWER_NAME}}
    return own


def _plugin_families() -> dict[str, type[EncoderConfig]]:
    plugins = {name: ENCODER_PLUGINS.get(name) for name in ENCODER_PLUGINS.names()}
    return {name: plugin[0] for name, plugin in plugins.items() if plugin}


def _names(built_in: Iterable[str], registry: Registry[Any], plugins: bool) -> list[str]:
    return [*built_in, *(registry.names() if plugins else ())]


def _definitions(models: Sequence[type[ConfigModel]]) -> tuple[dict[type[ConfigModel], _Json], _Json]:
    """A reference to each model's definition, and the definitions; pydantic tells apart equal names."""
    mode: JsonSchemaMode = "validation"
    found, schema = models_json_schema([(model, mode) for model in models], schema_generator=_Generator)
    return {model: found[model, mode] for model in models}, schema["$defs"]


def _name(reference: _Json) -> str:
    """The name of the definition that is referred to."""
    return str(reference["$ref"]).rpartition("/")[2]


def _encoder(families: _Json, generic: _Json) -> _Json:
    """The choice between the families, and the generic adapter where ``prefix_tokens`` asks for it."""
    names = list(families)
    return {
        "type": "object",
        "properties": {
            "model_type": {
                "description": field_descriptions(EncoderConfig)["model_type"],
                "examples": names,
                "anyOf": [{"enum": names}, {"type": "string"}],
            }
        },
        "if": {"required": ["model_type", "prefix_tokens"]},
        "then": generic,
        "else": {
            "properties": {"model_type": {"enum": names}},
            "allOf": [
                {
                    "if": {"required": ["model_type"], "properties": {"model_type": {"const": name}}},
                    "then": reference,
                }
                for name, reference in families.items()
            ],
        },
    }


def _by_type(blocks: Mapping[str, type[TypedBlock]], references: Mapping[type[ConfigModel], _Json]) -> _Json:
    """The choice between blocks of several types."""
    return {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": list(blocks)}},
        "allOf": [
            {
                "if": {"required": ["type"], "properties": {"type": {"const": name}}},
                "then": references[block],
            }
            for name, block in blocks.items()
        ],
    }


def _exemplify_fields(definition: _Json) -> None:
    """A field that names no examples has its default for one, or the only values it takes."""
    for field in definition["properties"].values():
        for only in ("default", "const"):
            if only in field:
                field.setdefault("examples", [field[only]])
        if "enum" in field:
            field.setdefault("examples", field["enum"])
