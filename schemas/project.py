"""What a team says once for all its configs: ``[tool.vision-composer]`` or ``vision-composer.toml``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import Problem, SettingsError
from ..files import read_regular
from ..text import did_you_mean
from .codes import CODES

OWN_FILE = "vision-composer.toml"
_SHARED_FILE, _TABLE = "pyproject.toml", "vision-composer"
_MOST_BYTES = 1 << 20
_RULES = ("select", "ignore", "error")


@dataclass(frozen=True)
class ProjectSettings:
    """Which problems count, and where an organisation's presets lie.

    Attributes:
        select: Codes that are reported, or what codes begin with; empty for all.
        ignore: Codes that are not reported, of those selected.
        error: Warnings that fail a check as errors do.
        preset_paths: Folders of presets, each in a folder of its own: ``org/base.yaml`` is ``org/base``.
        file: Where they stand; None for settings of no file.

    Raises:
        SettingsError: If a rule is no code, or hides that a text cannot be read.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    error: tuple[str, ...] = ()
    preset_paths: tuple[Path, ...] = ()
    file: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for name in _RULES:
            for code in getattr(self, name):
                if problem := _wrong_rule(name, code):
                    raise _error(self.file, name, problem)

    def laid_under(
        self, *, select: Iterable[str] = (), ignore: Iterable[str] = (), error: Iterable[str] = ()
    ) -> ProjectSettings:
        """Return these settings with those of one call: its ``select`` instead, the others added.

        Raises:
            SettingsError: As the class.
        """
        own = ProjectSettings(tuple(select), tuple(ignore), tuple(error))  # a wrong one is not the file's
        return replace(
            self,
            select=own.select or self.select,
            ignore=(*self.ignore, *own.ignore),
            error=(*self.error, *own.error),
        )

    def judged(self, problems: Iterable[Problem]) -> list[Problem]:
        """Return the problems that count, warnings among them that became errors."""
        return [
            replace(problem, promoted=True) if problem.warning and _named(problem, self.error) else problem
            for problem in problems
            if _unreadable(problem.code)
            or ((not self.select or _named(problem, self.select)) and not _named(problem, self.ignore))
        ]


def project_settings(folder: Path | None = None) -> ProjectSettings:
    """Return the settings of the nearest file at or above a folder; the defaults if there is none.

    Args:
        folder: Where to begin; None for the current directory.

    Raises:
        SettingsError: If the file cannot be read, or says something that no settings are; names the key.
    """
    start = (folder or Path.cwd()).absolute()
    for parent in (start, *start.parents):
        if (own := parent / OWN_FILE).is_file():
            return _settings(own, _read(own))
        shared = parent / _SHARED_FILE
        table = _read(shared).get("tool", {}) if shared.is_file() else {}
        if isinstance(table, dict) and _TABLE in table:
            return _settings(shared, table[_TABLE])
    return ProjectSettings()


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_regular(file, limit=_MOST_BYTES).decode())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _error(file, "", f"cannot be read as TOML: {reason}") from None


def _settings(file: Path, values: Any) -> ProjectSettings:
    if not isinstance(values, dict):
        raise _error(file, "", f"tool.{_TABLE} must be a table")
    keys = (*_RULES, "preset_paths")
    for key, value in values.items():
        if key not in keys:
            hint = did_you_mean(key, keys) or f"; there are {', '.join(keys)}"
            raise _error(file, key, f"unknown key{hint}")
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise _error(file, key, "must be a list of strings")
    paths = tuple(file.parent / path for path in values.get("preset_paths", ()))
    for path in paths:
        if not path.is_dir():
            raise _error(file, "preset_paths", f"there is no folder {str(path)!r}")
    rules = {name: tuple(values.get(name, ())) for name in _RULES}
    return ProjectSettings(**rules, preset_paths=paths, file=file)


def _wrong_rule(name: str, code: str) -> str:
    """What is wrong with a rule; empty if nothing is."""
    meant = [each for each in CODES if each.startswith(code)]
    if not meant:
        hint = did_you_mean(code, CODES) or "; docs/errors.md lists the codes, and VC3 stands for all VC3.."
        return f"there is no code {code!r}{hint}"
    if name == "ignore" and any(map(_unreadable, meant)):
        return f"{code} cannot be ignored: a text that cannot be read is not checked at all"
    if name == "error" and not any(each.startswith("VC3") for each in meant):
        return f"{code} is an error already; only warnings (VC3..) can be made errors"
    return ""


def _unreadable(code: str) -> bool:
    return code.startswith("VC0")


def _named(problem: Problem, rules: Iterable[str]) -> bool:
    return problem.code.startswith(tuple(rules))


def _error(file: Path | None, key: str, message: str) -> SettingsError:
    if file is None:
        return SettingsError(f"{key}: {message}")
    return SettingsError(f"{file}{_position(file, key)}: {f'{key}: ' if key else ''}{message}")


def _position(file: Path, key: str) -> str:
    """Where a key stands first; empty for none, and for one that TOML lets stand in another form."""
    if key:
        text = read_regular(file, limit=_MOST_BYTES).decode()
        # In pyproject.toml, tables of other tools in front may have keys of the same name.
        start = text.find(f"tool.{_TABLE}") if file.name == _SHARED_FILE else 0
        if found := re.compile(rf"^[ \t]*[\"']?{re.escape(key)}\b", re.MULTILINE).search(text, max(start, 0)):
            return f":{text.count(chr(10), 0, found.end()) + 1}"
    return ""
