"""transformers' classes of one model type, and whether a dense family can be made of them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from inspect import Parameter, signature
from typing import Any

from ..errors import InputError
from ..schemas import DenseEncoderConfig
from ..text import closest, shortened
from ..weights.quiet import quiet_transformers

_CLOSEST = 3
_BY_HAND = "docs/plugins.md says how to write such a family by hand"
_NOT_THEIRS = ("model_type", "num_channels")  # some configs leave the latter out, and mean 3
FIELDS = tuple(name for name in DenseEncoderConfig.model_fields if name not in _NOT_THEIRS)
"""Fields that the config of every dense encoder has."""


@dataclass(frozen=True)
class Classes:
    """The two classes of a vision encoder in transformers.

    Attributes:
        model_type: Its name there.
        config: The class of its config.
        model: The class of the encoder.
        module: The module that has both.
    """

    model_type: str
    config: Any
    model: Any
    module: str


def classes_of(model_type: str) -> Classes:
    """Find the classes of a model type.

    Raises:
        InputError: If transformers has no such model type, or it is none of an encoder that takes images of
            one size as a batch.
    """
    import transformers

    names = transformers.CONFIG_MAPPING.keys()
    if model_type not in names:
        close = closest(model_type, names, most=_CLOSEST)
        hint = f"; the closest are {', '.join(close)}" if close else ""
        raise InputError(
            f"transformers {transformers.__version__} has no model type {shortened(model_type)}{hint}"
        )
    config = transformers.CONFIG_MAPPING[model_type]
    if "vision_config" in getattr(config, "sub_configs", {}):
        with quiet_transformers():
            tower = getattr(config().vision_config, "model_type", "MODEL_TYPE")
        raise InputError(f"{model_type} has a vision encoder and more; name the encoder: --from {tower}")
    model, module = _model_of(config)
    parameters = dict(list(signature(model.forward).parameters.items())[1:])
    needed = {
        name
        for name, parameter in parameters.items()
        if parameter.default is Parameter.empty and parameter.kind is Parameter.POSITIONAL_OR_KEYWORD
    }
    if "pixel_values" not in parameters or needed - {"pixel_values"}:
        raise InputError(
            f"{model_type} does not take images of one size as a batch: {model.__name__} is called with "
            f"{', '.join(parameters)}; {_BY_HAND}"
        )
    missing = [name for name in FIELDS if not hasattr(config, name)]
    if missing:
        raise InputError(
            f"{model_type} is no plain vision transformer, as far as {config.__name__} tells: it has no "
            f"{', '.join(missing)}; {_BY_HAND}"
        )
    return Classes(model_type, config, model, module)


def _model_of(config: Any) -> tuple[Any, str]:
    """Return the class that transformers builds of a config, and a module that has it and the config's."""
    import transformers

    if config in transformers.MODEL_MAPPING:
        model: Any = transformers.MODEL_MAPPING[config]
        return model, _home(config, model)
    # Towers of larger models, which AutoModel does not know.
    modeling = import_module(config.__module__.replace("configuration_", "modeling_"))
    found = [
        thing
        for thing in vars(modeling).values()
        if isinstance(thing, type)
        and issubclass(thing, transformers.PreTrainedModel)
        and thing.__module__ == modeling.__name__
        and thing.config_class is config
        and "pixel_values" in signature(thing.forward).parameters
    ]
    if not found:
        raise InputError(
            f"transformers has no class for {config.__name__} that takes pixel_values; {_BY_HAND}"
        )
    model = min(found, key=lambda thing: (not hasattr(transformers, thing.__name__), len(thing.__name__)))
    return model, _home(config, model)


def _home(config: Any, model: Any) -> str:
    import transformers

    exported = all(hasattr(transformers, thing.__name__) for thing in (config, model))
    return "transformers" if exported else model.__module__
