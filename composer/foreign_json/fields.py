"""Values of a JSON object that anyone may have written, of the type that they must have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from ..errors import ConfigError, Problem

_SHOWN = 80
_MOST = 1 << 20
"""More than any number that says how an encoder is built."""


@dataclass(frozen=True)
class Foreign:
    """What a config of another library says.

    Attributes:
        keys: The keys of a config of ours.
        left_out: What no key says, as ``key: value``.
    """

    keys: dict[str, Any]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fields:
    """A JSON object.

    Attributes:
        values: Its values.
        path: Where it stands in the file; empty for the whole file.
    """

    values: Mapping[str, Any]
    path: str = ""

    def at(self, key: str) -> str:
        """Return the path of a key."""
        return f"{self.path}.{key}" if self.path else key

    def fault(self, key: str, message: str) -> ConfigError:
        """Return the error of a value."""
        return ConfigError(Problem("VC104", message, self.at(key)))

    def part(self, key: str) -> Fields:
        """Return the object in ``key``; an empty one where there is none."""
        value = self.values.get(key)
        if value is None:
            return Fields({}, self.at(key))
        if not isinstance(value, Mapping):
            raise self.fault(key, f"expected an object, got {shown(value)}")
        return Fields(value, self.at(key))

    def text(self, key: str, default: str) -> str:
        """Return a string."""
        value = self.values.get(key, default)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.fault(key, f"expected a string, got {shown(value)}")
        return value

    def whole(self, key: str, default: int) -> int:
        """Return a whole number of at least 1; of a pair of equal ones, the one."""
        value = self.values.get(key)
        if isinstance(value, (list, tuple)) and len(value) == 2:
            if value[0] != value[1]:
                raise self.fault(key, f"expected one number, or two equal ones, got {shown(value)}")
            value = value[0]
        if value is None:
            return default
        if type(value) is not int or not 0 < value < _MOST:
            raise self.fault(key, f"expected a whole number of at least 1, got {shown(value)}")
        return value

    def number(self, key: str, default: float) -> float:
        """Return a number that is neither tiny nor huge."""
        value = self.values.get(key)
        if value is None:
            return default
        if type(value) not in (int, float) or not isfinite(value) or not 1 / _MOST < value < _MOST:
            raise self.fault(key, f"expected a number above 0, got {shown(value)}")
        return float(value)

    def flag(self, key: str) -> bool:
        """Return whether a value is there and true."""
        return bool(self.values.get(key))

    def set_beside(self, known: set[str]) -> tuple[str, ...]:
        """Return the keys beside ``known`` that are set, as ``key: value``."""
        return tuple(
            f"{self.at(key)[:_SHOWN]}: {shown(value)}"
            for key, value in self.values.items()
            if key not in known and value not in (None, False, [], {})
        )


def shown(value: object) -> str:
    """Return a value as a message shows it."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
