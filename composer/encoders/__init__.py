"""The encoder families: what each encoder's facts are and how its stages run, one file each. Loads no torch.

A family is two files of one name: its config block in ``vision_composer.schemas.encoders``, and here a
subclass of ``DenseFamily``, ``PackedFamily`` or ``EncoderFamily`` with a ``model_type`` of its own. Nothing
lists the files: they are found by their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from pydantic import ValidationError

from ..errors import ConfigError, InputError, PluginError, Problem
from ..schemas import (
    ENCODER_CONFIGS,
    ENCODER_PLUGINS,
    EncoderConfig,
    GenericEncoderConfig,
    encoder_config,
)
from ..text import did_you_mean
from .base import AnyFamily, EncoderFamily
from .dense import DenseFamily
from .facts import Grid, VisionEncoderInfo
from .generic import GenericFamily
from .own_names import own_names
from .reading import Reading
from .shapes import Shapes


def _families() -> dict[str, AnyFamily]:
    """Find the family of every config block, in the module here that has the name of the block's module."""
    found: dict[str, AnyFamily] = {}
    for block in dict.fromkeys(ENCODER_CONFIGS.values()):
        module = import_module(f".{block.__module__.rpartition('.')[2]}", __name__)
        families = [
            thing
            for thing in vars(module).values()
            if isinstance(thing, type)
            and issubclass(thing, EncoderFamily)
            and thing.__module__ == module.__name__  # leaves out what is imported from another family's file
            and vars(thing).get("model_type") in block.model_types()  # and what several families share
        ]
        if len(families) != 1:
            names = " or ".join(map(repr, block.model_types()))
            raise TypeError(
                f"{module.__name__} must define one EncoderFamily of model_type {names}, not {len(families)}"
            )
        found |= dict.fromkeys(block.model_types(), families[0]())
    return {name: found[name] for name in ENCODER_CONFIGS}


FAMILIES = _families()
"""model_type -> family. The variants of a family share one object."""

_OWN_NAMES = {
    name: family.model_type
    for family in FAMILIES.values()
    for name in (*ENCODER_CONFIGS[family.model_type].model_types(), *family.other_names)
}
"""Every name that a config.json can use for a tower -> the model_type of its family."""

_GENERIC = GenericFamily()


def family_of(encoder: EncoderConfig) -> AnyFamily:
    """Return the family that builds and runs ``encoder``.

    Raises:
        PluginError: If the plugin that offers its model_type cannot be used.
    """
    if isinstance(encoder, GenericEncoderConfig):
        return _GENERIC
    return FAMILIES.get(encoder.model_type) or family_of_plugin(encoder.model_type)


def register_encoder(config_class: type[EncoderConfig], family: type[AnyFamily]) -> None:
    """Register an encoder family of your own, so that configs can name its model_type.

    Args:
        config_class: The config block, with ``model_type: Literal["..."]``.
        family: The facts and stages: a subclass of ``DenseFamily``, ``PackedFamily`` or ``EncoderFamily``.

    Raises:
        InputError: If the model_type is taken, or one of the classes is not of the right kind.
    """
    model_type = getattr(family, "model_type", None)
    if not isinstance(model_type, str):
        raise InputError(f'{family!r} has no model_type; declare one: model_type = "..."')
    if reason := _not_a_family(family, model_type):
        raise InputError(f"encoder {model_type!r}: {reason}")
    ENCODER_PLUGINS.register(model_type, (config_class, family))


def family_of_plugin(model_type: str) -> AnyFamily:
    """Return the family that a plugin registered for ``model_type``.

    Raises:
        InputError: If no plugin registered one.
        PluginError: If the plugin cannot be used.
    """
    plugin = ENCODER_PLUGINS.get(model_type)
    if plugin is None:
        raise InputError(
            f"no encoder family is registered for model_type {model_type!r}; `vision-composer plugins` lists "
            "the encoders"
        )
    if reason := _not_a_family(plugin[1], model_type):
        raise PluginError(f"encoder {model_type!r} of {ENCODER_PLUGINS.origin(model_type)}: {reason}")
    family: AnyFamily = _whole(plugin[1])()
    return family


def _whole(family: type[AnyFamily]) -> type[AnyFamily]:
    """Return ``family``, made a DenseFamily if it only gives ``stem``, as plugins of version 0.1 do."""
    if family.__abstractmethods__ and "stem" in vars(family):
        return type(family.__name__, (family, DenseFamily), {"__module__": family.__module__})
    return family


def _not_a_family(family: Any, model_type: str) -> str:
    """Return why a class cannot be the family of ``model_type``; empty if it can."""
    if not (isinstance(family, type) and issubclass(family, EncoderFamily)):
        return f"{family!r} is not a subclass of vision_composer.encoders.EncoderFamily"
    if getattr(family, "model_type", None) != model_type:
        return f'{family.__name__} must declare model_type = "{model_type}"'
    if missing := sorted(_whole(family).__abstractmethods__):
        return f"{family.__name__} must define {', '.join(missing)}"
    return ""


@runtime_checkable
class VisionLanguageConfig(Protocol):
    """The config of a vision-language model: any object with a ``vision_config``."""

    vision_config: Any


def encoder_from_transformers(config: Any) -> EncoderConfig:
    """Turn a transformers config into an encoder block.

    Args:
        config: A VLM's config, whose ``vision_config`` is taken, or a vision config: an object with
            ``to_dict()``, or a mapping as in ``config.json``.

    Raises:
        ConfigError: If there is no family for the model_type, or the family refuses a value.
    """
    vision = getattr(config, "vision_config", config)
    fields = _fields(vision)
    fields = _fields(fields.get("vision_config", fields))
    model_type = str(fields.get("model_type") or _by_class(type(vision).__name__))
    model_type = _OWN_NAMES.get(model_type, model_type)
    config_class = ENCODER_CONFIGS.get(model_type)
    if config_class is None and (plugin := ENCODER_PLUGINS.get(model_type)):
        config_class = plugin[0]
    if config_class is None:
        hint = did_you_mean(model_type, [*ENCODER_CONFIGS, *ENCODER_PLUGINS.names()])
        message = (
            f"no family for model_type {model_type!r}{hint}; `vision-composer plugins` lists the encoders"
        )
        if fields.get("model_type"):
            message += (
                ". The generic adapter may run it, if you say how many tokens stand in front of its patches: "
                'overrides=["encoder.prefix_tokens=1"]'
            )
        raise ConfigError(Problem("VC105", message))
    try:
        fields = own_names(fields, config_class)
        known_fields = {key: value for key, value in fields.items() if key in config_class.model_fields}
        return encoder_config(known_fields | {"model_type": model_type})
    except ValidationError as error:
        raise ConfigError(
            [
                Problem("VC104", line["msg"], ".".join(map(str, ("vision_config", *line["loc"]))))
                for line in error.errors(include_url=False)
            ]
        ) from None


def _by_class(name: str) -> str | None:
    """Return the model_type of a transformers config class; some of the oldest do not carry it."""
    return next((key for key, family in FAMILIES.items() if family.config_class == name), None)


def _fields(config: Any) -> Mapping[str, Any]:
    if isinstance(config, Mapping):
        return config
    if hasattr(config, "to_dict"):
        fields: Mapping[str, Any] = config.to_dict()
        return fields
    raise ConfigError(
        Problem(
            "VC103",
            f"expected a transformers config or a mapping as in config.json, not {type(config).__name__}",
        )
    )


def get_vision_encoder_info(hf_config: VisionLanguageConfig | Any) -> VisionEncoderInfo:
    """Return facts about the vision encoder that a transformers config describes.

    Args:
        hf_config: A VLM's config with a ``vision_config``, a vision config, or an encoder block of this
            package.

    Raises:
        ConfigError: If there is no family for the model_type, or the family refuses a value.
    """
    encoder = hf_config if isinstance(hf_config, EncoderConfig) else encoder_from_transformers(hf_config)
    return family_of(encoder).info(encoder)


__all__ = [
    "FAMILIES",
    "AnyFamily",
    "DenseFamily",
    "EncoderFamily",
    "Grid",
    "Reading",
    "Shapes",
    "VisionEncoderInfo",
    "VisionLanguageConfig",
    "encoder_from_transformers",
    "family_of",
    "family_of_plugin",
    "get_vision_encoder_info",
    "register_encoder",
]
