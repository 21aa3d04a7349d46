"""The keys of a config block, read from the class of transformers' config."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from types import UnionType
from typing import Any, Union, get_args, get_origin

from ..schemas import DenseEncoderConfig
from .classes import Classes

_SCALARS = (bool, int, float, str)
_SIDES = ("image_size", "patch_size")


@dataclass(frozen=True)
class Key:
    """A key of the block.

    Attributes:
        name: Its name, as in transformers' config.
        type: Its type, as Python.
        default: Its default.
        used: Whether the code of the encoder's modules names it.
    """

    name: str
    type: str
    default: Any
    used: bool


@dataclass(frozen=True)
class Keys:
    """The keys of a block beside those of ``DenseEncoderConfig``.

    Attributes:
        own: The keys, those of ``DenseEncoderConfig`` only where the default is another.
        left_out: Fields that the encoder's code names and that are neither number, text nor flag.
        values: Every number and flag of the config -> its default.
    """

    own: tuple[Key, ...]
    left_out: Mapping[str, Any]
    values: Mapping[str, Any]

    @property
    def inert(self) -> tuple[str, ...]:
        """The keys that the encoder's code never names, beside those that are inert in every block."""
        return tuple(
            key.name for key in self.own if not key.used and not DenseEncoderConfig.is_inert(key.name)
        )


def keys_of(classes: Classes, model: Any) -> Keys:
    """Read the keys of a block from the config's class, and what they are for from the model's code."""
    from transformers import PretrainedConfig

    common = {field.name for field in fields(PretrainedConfig)}
    code = _code(model)
    own, left_out, values = [], {}, {}
    for field in fields(classes.config):
        name, default = field.name, _default(field)
        if name in common or name.startswith("_"):
            continue
        used = re.search(rf"\b{re.escape(name)}\b", code) is not None
        kind = _side(name, default) or _type(field.type, default)
        if kind is None:
            if used:
                left_out[name] = default
            continue
        if isinstance(default, (list, tuple)):
            default = default[0]
        values[name] = default
        base = DenseEncoderConfig.model_fields.get(name)
        if base is None or base.default != default:
            own.append(Key(name, kind, default, used or base is not None))
    return Keys(tuple(own), left_out, values)


def _default(field: Any) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default


def _side(name: str, default: Any) -> str | None:
    """Return the type of a side in pixels, which may be a pair of equal ones."""
    is_pair = isinstance(default, (list, tuple)) and len(default) == 2 and default[0] == default[1]
    return "SquareSize" if name in _SIDES and (is_pair or type(default) is int) else None


def _type(annotation: Any, default: Any) -> str | None:
    if type(default) in _SCALARS:
        return type(default).__name__
    if default is not None:
        return None
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    named = [kind.__name__ for kind in options if kind in _SCALARS]
    return " | ".join([*named, "None"]) if named else None


def _code(model: Any) -> str:
    """Return the source of the classes of an encoder's modules, and of transformers' classes below them."""
    classes = {
        base
        for module in model.modules()
        for base in type(module).__mro__
        if base.__module__.startswith("transformers.models.")
    }
    return "\n".join(inspect.getsource(base) for base in sorted(classes, key=lambda base: base.__qualname__))
