"""Pydantic's errors as problems: our codes, positions in the text, and what would be right."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from pydantic import ValidationError

from ...errors import Problem
from ...text import did_you_mean
from ..base import MOST_PROBLEMS
from ..running import CompileConfig
from .hints import misplaced, same_value
from .nodes import Loc, Node, find, loc_of

_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "float_type": "a number",
    "int_type": "an integer",
    "list_type": "a list",
    "model_attributes_type": "a mapping",
    "model_type": "a mapping",
    "string_type": "a string",
    "tuple_type": "a list",
}
_YAML_1_1 = {**dict.fromkeys(("yes", "on", "y"), "true"), **dict.fromkeys(("no", "off", "n"), "false")}
_GROUPED_DIGITS = re.compile(r"[-+]?[0-9](?:[_,]?[0-9])*")
_PLAINER = {"greater than or equal to": "at least", "less than or equal to": "at most"}
_COMPILE_MODES = CompileConfig.model_fields["mode"].annotation
_WIDEST_VALUE = 60


def problems_of(error: ValidationError, tree: Node) -> list[Problem]:
    """What pydantic refused in ``tree``, in the order of the text.

    Args:
        error: Raised when the tree's plain values were validated.
        tree: The located values.
    """
    problems: dict[tuple[Loc, str], Problem] = {}
    expected: dict[Loc, list[str]] = {}
    hints: dict[Loc, str] = {}
    for i, line in enumerate(error.errors(include_url=False)):
        node, depth = find(tree, line["loc"])
        # Behind a scalar, pydantic's loc goes on with the branches of a union; behind a mapping, with a key
        # that is missing or has its default.
        path = line["loc"] if isinstance(node.value, dict) else line["loc"][:depth]
        code, message = _code(line["type"]), _message(line)
        above, own = _tower_of(path)
        hinted = code == "VC101" and i < MOST_PROBLEMS  # looking around takes its time
        if hinted and (elsewhere := misplaced(own if own[1:] else path, _model_type(tree, above))):
            message = f"unknown key{elsewhere}"
        if line["type"] in _EXPECTED:
            expected.setdefault(path, []).append(_EXPECTED[line["type"]])
            hints[path] = hints.get(path) or _hint(line, own)
            message = f"expected {', or '.join(expected[path])}, got {_kind(line['input'])}{hints[path]}"
        at_key = code == "VC101" or depth < len(path)
        found = (node.key if at_key and node.key else node).problem(code, message, path)
        problems[path, code if line["type"] in _EXPECTED else message] = found
    return capped(sorted(problems.values(), key=lambda problem: _order(problem, tree)))


def located(problem: Problem, tree: Node) -> Problem:
    """Return a problem with the position of the value in ``tree`` that its path leads to, or nearest to."""
    if problem.span is not None or not problem.path:
        return problem
    path = loc_of(problem.path)
    node, depth = find(tree, path)
    place = node.key if depth < len(path) and node.key else node
    return place.problem(problem.code, problem.message, path)


def capped(problems: Sequence[Problem]) -> list[Problem]:
    """The first of ``problems``, and one that says how many more there are, where the next one stands."""
    if len(problems) <= MOST_PROBLEMS:
        return list(problems)
    message = f"{len(problems) - MOST_PROBLEMS} more problems from here on; correct those above first"
    return [*problems[:MOST_PROBLEMS], replace(problems[MOST_PROBLEMS], code="VC006", message=message)]


def unfilled(node: Node, path: Loc = ()) -> list[Problem]:
    """Every ``???``, OmegaConf's mark for a value that somebody still has to write."""
    if node.value == "???":
        return [node.problem("VC102", "still to be filled in: ??? stands for a missing value", path)]
    return [problem for key, child in node.children() for problem in unfilled(child, (*path, key))]


def _tower_of(path: Loc) -> tuple[Loc, Loc]:
    """``path`` as the place of a config, at the root or among several towers, and the rest inside it."""
    depth = 2 if path[:1] == ("towers",) and len(path) > 2 else 0
    return path[:depth], path[depth:]


def _model_type(tree: Node, tower: Loc) -> object:
    return find(tree, (*tower, "encoder", "model_type"))[0].value


def _order(problem: Problem, tree: Node) -> tuple[bool, str, int, int]:
    if problem.span is None:
        return False, "", 0, 0
    below = tree.place is None or problem.span.source != tree.place.source.name
    return below, problem.span.source, problem.span.line, problem.span.column


def _code(kind: str) -> str:
    if kind.startswith("VC"):
        return kind
    if kind in ("missing", "extra_forbidden"):
        return "VC102" if kind == "missing" else "VC101"
    return "VC103" if kind.endswith("_type") or kind == "is_instance_of" else "VC104"


def _message(line: Mapping[str, Any]) -> str:
    kind, message = line["type"], str(line["msg"])
    if kind.startswith("VC"):
        return message
    if kind == "missing":
        return "missing key" + (
            "; write schema: 1 (vision-composer migrate does)" if line["loc"] == ("schema",) else ""
        )
    if kind == "extra_forbidden":
        return "unknown key"
    if kind == "literal_error":
        choices, value = message.removeprefix("Input should be "), line["input"]
        names = re.findall(r"'([^']*)'", choices)
        hint = same_value(value, names) or (did_you_mean(value, names) if isinstance(value, str) else "")
        if isinstance(value, str) and value in re.findall(r"\b\d+\b", choices):
            hint = "; write it without quotes"
        return f"expected {choices}, got {_shown(value)}{hint}"
    message = re.sub(r"^[A-Z][a-z]+ should ", "must ", message).replace(" after validation", "")
    for theirs, ours in _PLAINER.items():
        message = message.replace(theirs, ours)
    return f"{message}, got {_shown(line['input'])}"


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping | list | tuple):
        return "a mapping" if isinstance(value, Mapping) else "a list"
    if not isinstance(value, str | int | float):
        return f"a value of type {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= _WIDEST_VALUE else text[: _WIDEST_VALUE - 3] + "..."


def _kind(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return _shown(value)
    return f"the {'string' if isinstance(value, str) else 'number'} {_shown(value)}"


def _hint(line: Mapping[str, Any], loc: Loc) -> str:
    """What to write instead, where YAML's rules are the likely reason for the wrong type."""
    value, kind = line["input"], line["type"]
    if kind == "bool_type" and isinstance(value, str):
        if value.lower() in _YAML_1_1:
            return f"; YAML 1.2 reads that as text, write {_YAML_1_1[value.lower()]}"
        return f"; write {value.lower()} without quotes" if value.lower() in ("true", "false") else ""
    if kind == "int_type" and isinstance(value, str) and _GROUPED_DIGITS.fullmatch(value):
        return f"; write {re.sub('[_,]', '', value).lstrip('+0') or '0'}"
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    if loc == ("weights",) and isinstance(value, str):
        return f"; write weights: {{source: {value}}}"
    if loc == ("weights",) and value is None:
        return "; leave it out for random weights"
    if loc[0] == "compile" and isinstance(value, str) and value in get_args(_COMPILE_MODES):
        return f"; write compile: {{mode: {value}}}"
    if loc[0] == "encoder" and value is None and loc[-1] not in ("model_type", "prefix_tokens"):
        return "; leave it out to have the default"
    if kind == "string_type" and isinstance(value, int | float):
        return f"; quote it: '{_shown(value)}'"
    return ""
