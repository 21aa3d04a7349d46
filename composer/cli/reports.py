"""Problems of configs as programs read them: JSON, annotations of a GitHub workflow, SARIF."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .._version import __version__
from ..errors import Problem
from ..schemas.project import OWN_FILE, ProjectSettings


def level(problem: Problem) -> str:
    """Return ``error`` or ``warning``, as GitHub and SARIF both call them."""
    return "warning" if problem.warning else "error"


def as_json(problems: Sequence[Problem]) -> str:
    """Return a JSON list of objects."""
    return json.dumps([_fields(problem) for problem in problems], indent=2)


def _fields(problem: Problem) -> dict[str, str | int | None]:
    span = problem.span
    return {
        "code": problem.code,
        "level": level(problem),
        "message": problem.message,
        "path": problem.path,
        "file": span.source if span else None,
        "line": span.line if span else None,
        "column": span.column if span else None,
    }


def settings_as_toml(settings: ProjectSettings) -> str:
    """Return a team's settings as it would write them, below the name of their file."""
    where = settings.file or f"no {OWN_FILE} and no [tool.vision-composer] at or above this folder"
    values = {
        "select": settings.select,
        "ignore": settings.ignore,
        "error": settings.error,
        "preset_paths": tuple(map(str, settings.preset_paths)),
    }
    return "\n".join([f"# {where}", *(f"{key} = {json.dumps(list(value))}" for key, value in values.items())])


def annotation(problem: Problem) -> str:
    """Return one problem as a workflow command of GitHub Actions."""
    span = problem.span
    where = f"file={_escaped(span.source)},line={span.line},col={span.column}," if span else ""
    text = _text(problem).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::{level(problem)} {where}title={problem.code}::{text}"


def as_sarif(problems: Sequence[Problem]) -> str:
    """Return a SARIF 2.1.0 log, as code scanning services take it."""
    from ..schemas.codes import CODES

    used = sorted({problem.code for problem in problems})
    driver = {
        "name": "vision-composer",
        "version": __version__,
        "rules": [{"id": code, "shortDescription": {"text": CODES[code]}} for code in used],
    }
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "results": [_result(problem, used.index(problem.code)) for problem in problems],
            }
        ],
    }
    return json.dumps(log, indent=2)


def _result(problem: Problem, rule: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": problem.code,
        "ruleIndex": rule,
        "level": level(problem),
        "message": {"text": _text(problem)},
    }
    if span := problem.span:
        path = Path(span.source)
        uri = path.as_uri() if path.is_absolute() else quote(span.source.replace(os.sep, "/"))
        region = {"startLine": span.line, "startColumn": span.column}
        result["locations"] = [{"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}]
    return result


def _text(problem: Problem) -> str:
    return (f"{problem.path}: " if problem.path else "") + problem.message


def _escaped(value: str) -> str:
    for character, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C")):
        value = value.replace(character, code)
    return value
