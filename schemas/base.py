"""The base of every config model: frozen, strict, without unknown keys, and errors that help."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from ..errors import Problem
from ..text import did_you_mean

MOST_PROBLEMS = 100
"""Problems of a config that are reported; a number stands for the others."""

_REFERENCE = re.compile(r"(\\*)\$\{")


def escape_references(value: Any) -> Any:
    r"""``value`` as a config writes it: ``${`` in its strings as ``\${``, so that none is a reference."""
    if isinstance(value, str):
        # Doubled, the backslashes in front stay themselves; the last one keeps OmegaConf from resolving.
        return _REFERENCE.sub(lambda match: match[1] * 2 + r"\${", value)
    if isinstance(value, Mapping):
        return {key: escape_references(child) for key, child in value.items()}
    return [escape_references(child) for child in value] if isinstance(value, list | tuple) else value


def problem(code: str, message: str, *loc: str | int, value: object = None) -> InitErrorDetails:
    """One line of a pydantic error: ``code`` becomes its type, ``message`` stays as written."""
    error = PydanticCustomError(code, message)
    return InitErrorDetails(type=error, loc=loc, input=value)


def invalid(title: str, *problems: InitErrorDetails) -> ValidationError:
    """``problems`` as one error to raise inside a validator; pydantic merges its lines into the outer one."""
    return ValidationError.from_exception_data(title, list(problems))


def whole_number(value: object) -> object:
    """Before a Literal of integers, which pydantic compares by ``==``: refuses true and 1.0."""
    if isinstance(value, (bool, float)):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


def _as_it_is(problem: Problem) -> Problem:
    return problem


@dataclass(frozen=True)
class Origin:
    """The text that a config was read from. All are equal: configs are compared by their values alone.

    Attributes:
        locate: Gives a problem the position of the value that it is about.
        file: The YAML file that was loaded; None if it came from no file.
    """

    locate: Callable[[Problem], Problem] = field(default=_as_it_is, compare=False)
    file: Path | None = field(default=None, compare=False)


class ConfigModel(BaseModel):
    """A frozen, strict block of a config."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        populate_by_name=True,
        defer_build=True,  # of dozens of blocks, a config needs a few
        protected_namespaces=(),
    )

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, data: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            lines = [
                cls._explain_line(line, hint=i < MOST_PROBLEMS)
                for i, line in enumerate(error.errors(include_url=False))
            ]
        raise ValidationError.from_exception_data(cls.__name__, lines)

    @classmethod
    def _explain_line(cls, line: ErrorDetails, *, hint: bool) -> InitErrorDetails:
        loc = line["loc"]
        if hint and line["type"] == "extra_forbidden" and len(loc) == 1:
            keys = [field.alias or name for name, field in cls.model_fields.items()]
            meant = did_you_mean(loc[0], keys) or f" (keys here: {', '.join(keys)})"
            return problem("VC101", f"unknown key{meant}", *loc, value=line["input"])
        return problem(line["type"], line["msg"], *loc, value=line["input"])
