"""Blocks of which there are several types, one file each, told apart by their ``type`` key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import TypeVar, get_args

from ..text import did_you_mean
from .base import ConfigModel, invalid, problem

B = TypeVar("B", bound="TypedBlock")


class TypedBlock(ConfigModel):
    """A block with a ``type``, which decides what other keys it takes.

    A subclass declares ``type: Literal["..."]``.
    """

    type: str
    """Which of the types this block is; decides which other keys it takes."""

    @classmethod
    def type_name(cls) -> str:
        """The value of ``type`` that stands for this class; empty for a base of several."""
        values = get_args(cls.model_fields["type"].annotation)
        return str(values[0]) if len(values) == 1 else ""


def blocks_beside(package: str, path: Iterable[str], base: type[B]) -> dict[str, type[B]]:
    """Return the subclasses of ``base`` in the modules of a package, by their ``type``.

    Args:
        package: The package's name.
        path: Its ``__path__``.
        base: What they are subclasses of.
    """
    found: dict[str, type[B]] = {}
    for beside in iter_modules(path):
        module = import_module(f"{package}.{beside.name}")
        for block in vars(module).values():
            if not (isinstance(block, type) and issubclass(block, base) and block.type_name()):
                continue
            if block.__module__ == module.__name__:  # not imported from another type's file
                found[block.type_name()] = block
    return dict(sorted(found.items()))


def typed_block(data: object, blocks: Mapping[str, type[B]], base: type[B], what: str) -> B:
    """Validate a block by the class that its ``type`` names.

    Dispatching here rather than through a pydantic Union keeps error locations equal to YAML paths.

    Args:
        data: The block.
        blocks: type -> class.
        base: What all of them are subclasses of.
        what: The block's key in the config.

    Raises:
        pydantic.ValidationError: If the type is missing or unknown, or its class refuses the block.
    """
    if isinstance(data, base):
        return data
    if not isinstance(data, Mapping):
        message = f"expected a mapping with a type, such as {{type: {next(iter(blocks))}}}"
        raise invalid(what, problem("VC103", message, value=data))
    if "type" not in data:
        message = f"missing key: which {what} it is; one of {', '.join(blocks)}"
        raise invalid(what, problem("VC102", message, "type", value=data))
    name = data["type"]
    if not isinstance(name, str):
        raise invalid(what, problem("string_type", "expected a string", "type", value=name))
    if name not in blocks:
        hint = did_you_mean(name, blocks) or f"; take one of {', '.join(blocks)}"
        message = f"unknown {what} {name!r}{hint}"
        raise invalid(what, problem("VC104", message, "type", value=name))
    return blocks[name].model_validate(data)
