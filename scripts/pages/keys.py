"""The pages of keys: every key of every block, from the JSON Schema that editors read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from vision_composer.schemas.json_schema import json_schema

from .markdown import prose, table

_Json = dict[str, Any]

_BLOCKS = """# Every key

These tables are made from the JSON Schema that `vision-composer schema` prints and editors check with.
[The config](../config.md) explains the keys; here is what each takes. The keys of `encoder` depend on its `model_type`
and stand among the [encoder blocks](encoder-keys.md); those of `connector` and `tiling` depend on their `type` and stand
among the [connectors and tilings](connector-keys.md).

"""  # noqa: E501  # lines of a page
_ENCODERS = """# Encoder blocks

The keys of `encoder`, by `model_type`. They have the names and defaults of transformers' config, so that the
`config.json` of a checkpoint can be copied. `vision-composer init MODEL_TYPE` prints a commented config with all of them,
and `vision-composer init --from SOURCE` the one of a checkpoint.

"""  # noqa: E501  # lines of a page
_CONNECTORS = """# Connectors and tilings

The keys of `connector` and `tiling`, by `type`. A preset of a vision-language model sets both, and
`vision-composer init --from SOURCE` writes them for a checkpoint. The steps at the end of the connectors are those that a
[connector of your own](../config.md#the-vision-half) is composed of.

"""  # noqa: E501  # lines of a page
_LONG = {"gelu": "Activations", "CLIPImageProcessor": "Image processors"}
"""A value of an enumeration that is too long for a cell -> the heading that it stands under."""


def blocks() -> str:
    """The text of ``reference/keys.md``: the root, and every block of one kind."""
    properties = _schema()["properties"]
    several = [key for key in ("towers", "input", "align", "project", "fuse") if key in properties]
    root = {key: value for key, value in properties.items() if key not in several}
    text = (
        _BLOCKS + "## The root\n\n" + _table({"properties": root, "required": ["schema", "encoder"]}, "keys")
    )
    text += "## Several towers\n\n`towers` stands in place of `encoder`, and the others beside it.\n\n"
    text += _table({"properties": {key: properties[key] for key in several}, "required": ["towers"]}, "keys")
    return text + _sections("keys") + _names("Image processors")


def encoders() -> str:
    """The text of ``reference/encoder-keys.md``."""
    return _ENCODERS + _sections("encoder-keys") + _names("Activations")


def connectors() -> str:
    """The text of ``reference/connector-keys.md``."""
    return _CONNECTORS + _sections("connector-keys") + _names("Activations")


@cache
def _schema() -> _Json:
    return json_schema()


@cache
def _places() -> dict[str, str]:
    """Every definition -> the first path in a config at which it can stand, nearest to the root."""
    schema = _schema()
    found: dict[str, str] = {}
    queue = [(key, value) for key, value in schema["properties"].items()]
    for path, part in queue:
        for name in _references(part):
            if name not in found and name != "TowerConfig":
                found[name] = path
                queue += [(f"{path}.{key}", value) for key, value in _fields(name).items()]
    return found


def _references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"].rpartition("/")[2]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _references(inner)


def _fields(name: str) -> _Json:
    fields: _Json = _schema()["$defs"][name]["properties"]
    return fields


def _page_of(name: str) -> str:
    root = _places()[name].partition(".")[0]
    return {"encoder": "encoder-keys", "connector": "connector-keys", "tiling": "connector-keys"}.get(
        root, "keys"
    )


def _sections(page: str) -> str:
    definitions = _schema()["$defs"]
    names = sorted(
        (name for name in _places() if _page_of(name) == page),
        key=lambda name: (_places()[name].partition(".")[0], _places()[name], _title(name)),
    )
    return "".join(_section(name, definitions[name], page) for name in names)


def _section(name: str, block: _Json, page: str) -> str:
    return f"({_anchor(name)})=\n## {_title(name)}\n\n{_meaning(block)}\n\n{_table(block, page)}"


def _title(name: str) -> str:
    """What a block is called by: its model types or its type, else its place."""
    fields = _fields(name)
    if "model_type" in fields:
        given = fields["model_type"]
        names = given.get("enum") or [given["const"]] if "const" in given or "enum" in given else None
        return ", ".join(f"`{model_type}`" for model_type in names) if names else "Any other encoder"
    place = _places()[name]
    return (
        f"`{place}`, `type: {fields['type']['const']}`" if "const" in fields.get("type", {}) else f"`{place}`"
    )


def _anchor(name: str) -> str:
    return f"block-{name.lower()}"


def _table(block: _Json, page: str) -> str:
    rows = [
        (f"`{key}`", _kind(field, page) + _default(key, field, block), _meaning(field))
        for key, field in block["properties"].items()
    ]
    return table(("key", "takes", "meaning"), rows)


def _default(key: str, field: _Json, block: _Json) -> str:
    if key in block.get("required", ()):
        return "; required"
    default = field.get("default")
    if default is None or isinstance(default, dict):  # a block of defaults, each of which has its own row
        return ""
    return f"; default `{default if isinstance(default, str) else json.dumps(default)}`"


def _meaning(part: _Json) -> str:
    text = part.get("description", "").replace("``", "`")
    return prose(text.partition("\n\n")[0])


def _kind(part: _Json, page: str) -> str:
    """What a field takes, in words."""
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        if name == "TowerConfig":
            return "a config of one tower"
        own = _page_of(name) == page
        return f"[a block](#{_anchor(name)})" if own else f"[a block]({_page_of(name)}.md#{_anchor(name)})"
    if "const" in part:
        return f"`{json.dumps(part['const']).strip(chr(34))}`"
    if "enum" in part:
        for value, heading in _LONG.items():
            if value in part["enum"]:
                return f"one of the [{heading.lower()}](#{heading.lower().replace(' ', '-')})"
        return ", ".join(f"`{value}`" for value in part["enum"])
    if "allOf" in part or "if" in part:
        by = "type" if "type" in part["properties"] else "model_type"
        return f"a block, by its `{by}`"
    if "anyOf" in part:
        kinds = [_kind(choice, page) for choice in part["anyOf"]]
        return " or ".join(dict.fromkeys(kinds))
    return _plain(part, page)


def _plain(part: _Json, page: str) -> str:
    match part.get("type"):
        case "array":
            if "prefixItems" in part:
                return f"{len(part['prefixItems'])} x {_kind(part['prefixItems'][0], page)}"
            if part.get("minItems") == part.get("maxItems") and "minItems" in part:
                return f"{part['minItems']} x {_kind(part['items'], page)}"
            return f"list of {_kind(part['items'], page)}"
        case "object":
            inner = part.get("additionalProperties")
            return f"names, each with {_kind(inner, page)}" if isinstance(inner, dict) else "a mapping"
        case "integer" | "number" as kind:
            return f"{kind}{_bounds(part)}"
        case "string":
            return "text"
        case "boolean":
            return "true, false"
        case "null":
            return "null"
    return "any value"


def _bounds(part: _Json) -> str:
    low, high = part.get("minimum"), part.get("maximum")
    if high is not None and high >= 65536:  # a limit against slips, and not a rule
        high = None
    if "exclusiveMinimum" in part:
        above = f" above {part['exclusiveMinimum']:,}"
        return above if high is None else f"{above}, at most {high:,}"
    if low is None:
        return "" if high is None else f" up to {high:,}"
    return f" from {low:,}" if high is None else f" from {low:,} to {high:,}"


def _names(heading: str) -> str:
    """A long enumeration, under the heading that cells lead to."""
    (value,) = (value for value, name in _LONG.items() if name == heading)
    values = next(values for values in _enumerations(_schema()) if value in values)
    return f"## {heading}\n\n" + ", ".join(f"`{name}`" for name in values) + ".\n"


def _enumerations(part: object) -> Iterator[list[str]]:
    if isinstance(part, dict):
        if isinstance(part.get("enum"), list):
            yield part["enum"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _enumerations(inner)
