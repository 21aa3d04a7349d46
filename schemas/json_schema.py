"""The JSON Schema of a config file, for editors; ``load_config`` stays the authority on what is valid.

The encoder block is a choice by ``model_type`` written as ``if``/``then``, not as the union that pydantic
would write: so an editor completes the keys of the family at hand, and complains about the key that is
wrong. A number written as a reference (``${a.b}``) is a string to an editor, which will mark it.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import (
    DEFAULT_REF_TEMPLATE,
    GenerateJsonSchema,
    JsonSchemaMode,
    models_json_schema,
)

from .base import ConfigModel
from .config import ATTN_BACKENDS, TowerConfig
from .encoders import ENCODER_CONFIGS, DenseEncoderConfig, EncoderConfig, GenericEncoderConfig

SCHEMA_ID = "https://vision-composer.dev/schemas/vision-composer-1.json"


class _Generator(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # "Hidden Size" says nothing that "hidden_size" does not

    def function_plain_schema(self, schema: Any) -> dict[str, Any]:
        return {}  # the encoder, filled in below; older versions of pydantic raise here


def json_schema() -> dict[str, Any]:
    """The schema of a config file, JSON Schema 2020-12."""
    mode: JsonSchemaMode = "validation"
    encoders: list[type[EncoderConfig]] = [GenericEncoderConfig, *ENCODER_CONFIGS.values()]
    models: list[type[ConfigModel]] = [TowerConfig, *encoders]
    _, schema = models_json_schema([(model, mode) for model in models], schema_generator=_Generator)
    definitions: dict[str, Any] = schema["$defs"]
    for encoder in encoders:
        _describe_fields(definitions[encoder.__name__])
    root = definitions.pop(TowerConfig.__name__)
    properties = root["properties"]
    properties["encoder"] = {**properties["encoder"], **_encoder()}
    properties["select_layers"]["anyOf"][0]["minItems"] = 1
    properties["attn_backend"]["enum"] = ["auto", *ATTN_BACKENDS]
    # An open choice: an editor offers these, and others may be registered.
    built_in = {"enum": ["class", "default", "full"]}
    properties["feature_select_strategy"]["anyOf"] = [built_in, {"type": "string"}]
    freeze = definitions["TrainingConfig"]["properties"]["freeze"]
    freeze["anyOf"] = [freeze["items"], {"type": freeze.pop("type"), "items": freeze.pop("items")}]
    required = root.pop("required")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **root,
        "properties": {"schema": properties.pop("schema"), "extends": _EXTENDS, **properties},
        "if": {"required": ["extends"]},
        "else": {"required": required, "properties": {"encoder": {"required": ["model_type"]}}},
        "$defs": definitions,
    }


def json_schema_text() -> str:
    """The schema as it is written to ``schemas/json/vision-composer-1.json``."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


_EXTENDS = {
    "description": "Presets, or paths relative to this file, to lie under it: mappings merge.",
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 16},
    ],
}


def _encoder() -> dict[str, Any]:
    """The choice between the families, and the generic adapter where ``prefix_tokens`` asks for it."""
    families = list(ENCODER_CONFIGS)
    generic = {
        "required": ["model_type", "prefix_tokens"],
        "properties": {"model_type": {"not": {"enum": families}}},
    }
    return {
        "type": "object",
        "properties": {
            "model_type": {
                "description": EncoderConfig.model_fields["model_type"].description,
                "anyOf": [{"enum": families}, {"type": "string"}],
            }
        },
        "if": generic,
        "then": _reference(GenericEncoderConfig),
        "else": {"properties": {"model_type": {"enum": families}}},
        "allOf": [
            {
                "if": {"required": ["model_type"], "properties": {"model_type": {"const": name}}},
                "then": _reference(model),
            }
            for name, model in ENCODER_CONFIGS.items()
        ],
    }


def _reference(model: type[EncoderConfig]) -> dict[str, str]:
    return {"$ref": DEFAULT_REF_TEMPLATE.format(model=model.__name__)}


def _describe_fields(definition: dict[str, Any]) -> None:
    """Give a field that a family only repeats with another default the description of the base's."""
    for name, field in definition["properties"].items():
        if name in DenseEncoderConfig.model_fields:
            field.setdefault("description", DenseEncoderConfig.model_fields[name].description)
