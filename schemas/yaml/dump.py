"""A config as YAML that this package's loader reads back as the same values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

_BREAKS = frozenset("\x85\u2028\u2029")


class _Dumper(yaml.SafeDumper):
    """PyYAML writes for readers of YAML 1.1; this also quotes what YAML 1.2 reads as a number."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Whatever starts like a word is no number, and the words that mean something PyYAML quotes by itself.
    style = None if text[:1].isalpha() else "'"
    if not _BREAKS.isdisjoint(text):
        style = '"'  # in single quotes, PyYAML would fold them like line breaks
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _string)


def to_yaml(values: Mapping[str, Any]) -> str:
    """``values`` as block-style YAML, keys in their order, lists on one line.

    Args:
        values: Plain data: mappings with string keys, lists, strings, numbers, truth values and null; a
            string is written as it is, references too.
    """
    return "".join(_lines(values, ""))


def _lines(values: Mapping[str, Any], indent: str) -> list[str]:
    lines = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            lines += [f"{indent}{inline(key)}:\n", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{inline(key)}: {inline(value)}\n")
    return lines


def inline(value: Any) -> str:
    """One value on one line."""
    text = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=True,
        width=float("inf"),
        allow_unicode=True,
        sort_keys=False,
    )
    return text.removesuffix("\n").removesuffix("\n...")
