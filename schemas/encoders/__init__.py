"""The encoder families' config blocks, one file each, and the dispatch on ``model_type`` between them.

A block is found by its file: a subclass of ``EncoderConfig`` whose ``model_type`` is a ``Literal`` of the
names that it takes. The family of the same name lies in ``vision_composer.encoders``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from ...registry import Registry
from ...text import did_you_mean
from ..base import invalid, problem
from .base import DenseEncoderConfig, EncoderConfig, RopeType
from .generic import GenericEncoderConfig


def _config_blocks() -> dict[str, type[EncoderConfig]]:
    """The config blocks of the modules beside this one, under every model_type that they take."""
    found: dict[str, type[EncoderConfig]] = {}
    for beside in iter_modules(__path__):
        module = import_module(f"{__name__}.{beside.name}")
        for block in vars(module).values():
            if not (isinstance(block, type) and issubclass(block, EncoderConfig)):
                continue
            if block.__module__ != module.__name__:  # imported from another family's file
                continue
            for model_type in block.model_types():
                if model_type in found:
                    both = f"{found[model_type].__module__} and {block.__module__}"
                    raise TypeError(f"{both} both claim the model_type {model_type!r}")
                found[model_type] = block
    return dict(sorted(found.items()))


ENCODER_CONFIGS = _config_blocks()
"""model_type -> its config block. The families; anything else goes through the generic adapter."""

EncoderPlugin = tuple[type[EncoderConfig], type]
"""A family that a plugin adds: its config class, and its subclass of ``EncoderFamily``."""


def _check_plugin(name: str, plugin: object) -> EncoderPlugin:
    """The half that can be checked without the families: a pair, and its config class."""
    if not (isinstance(plugin, tuple) and len(plugin) == 2 and all(isinstance(c, type) for c in plugin)):
        raise TypeError(
            f"expected two classes, (subclass of EncoderConfig, subclass of EncoderFamily), not {plugin!r}"
        )
    config_class, family = plugin
    if not issubclass(config_class, EncoderConfig):
        raise TypeError(f"{config_class.__name__} is not a subclass of vision_composer.schemas.EncoderConfig")
    if issubclass(config_class, GenericEncoderConfig):
        raise TypeError(f"{config_class.__name__} is a config of the generic adapter, which takes no family")
    if config_class.model_types() != (name,):
        raise TypeError(f'{config_class.__name__} must declare model_type: Literal["{name}"]')
    return config_class, family


ENCODER_PLUGINS = Registry[EncoderPlugin]("encoder", "encoders", ENCODER_CONFIGS, _check_plugin)
"""model_type -> family, of those that plugins add."""

_ENCODER = "encoder"
_LISTED = "`vision-composer plugins` lists the encoders"


def encoder_config(data: object) -> EncoderConfig:
    """The config block of the family that ``data["model_type"]`` names, or of the generic adapter.

    A block with ``prefix_tokens`` is the generic adapter's, whatever families there are: so a config keeps
    its meaning when its encoder gets a family.

    Dispatching here rather than through a pydantic Union keeps error locations equal to YAML paths.

    Raises:
        pydantic.ValidationError: If model_type is missing or unknown, or the family refuses the block.
        PluginError: If the plugin that offers the model_type cannot be used.
    """
    if isinstance(data, EncoderConfig):
        return data
    if not isinstance(data, Mapping):
        message = "expected a mapping with a model_type"
        if isinstance(data, str) and data.startswith("model_type:"):
            message += "; put a space behind the colon"
        elif isinstance(data, str):
            message += "; a preset is named by extends, weights by weights.source"
        raise invalid(_ENCODER, problem("VC103", message, value=data))
    if "model_type" not in data:
        message = f"missing key: the encoder's name in transformers, such as clip_vision_model; {_LISTED}"
        raise invalid(_ENCODER, problem("VC102", message, "model_type", value=data))
    model_type = data["model_type"]
    if "prefix_tokens" in data:
        return GenericEncoderConfig.model_validate(data)
    if isinstance(model_type, str) and model_type in ENCODER_CONFIGS:
        return ENCODER_CONFIGS[model_type].model_validate(data)
    if isinstance(model_type, str) and (plugin := ENCODER_PLUGINS.get(model_type)):
        return plugin[0].model_validate(data)
    if not isinstance(model_type, str):
        raise invalid(_ENCODER, problem("string_type", "expected a string", "model_type", value=model_type))
    hint = did_you_mean(model_type, [*ENCODER_CONFIGS, *ENCODER_PLUGINS.names()])
    message = (
        f"unknown model_type {model_type!r}{hint}; {_LISTED}. Another vision encoder of transformers runs "
        "through the generic adapter once prefix_tokens says how many tokens stand in front of its patches"
    )
    raise invalid(_ENCODER, problem("VC105", message, "model_type", value=model_type))


AnyEncoderConfig = Annotated[
    EncoderConfig,
    PlainValidator(encoder_config),
    PlainSerializer(lambda encoder: encoder.model_dump(exclude_unset=True), return_type=dict[str, Any]),
    WithJsonSchema({"type": "object"}),  # the real one, by model_type, is made in json_schema.py
]

__all__ = [
    "ENCODER_CONFIGS",
    "ENCODER_PLUGINS",
    "AnyEncoderConfig",
    "DenseEncoderConfig",
    "EncoderConfig",
    "GenericEncoderConfig",
    "RopeType",
    "encoder_config",
]
