"""Finding the class that stands for each type of config block: it lies in the file of the block's name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any


def classes_by_type(package: str, blocks: Mapping[str, type[Any]], base: Any) -> dict[str, type[Any]]:
    """Return the subclass of ``base`` for every type of block.

    Args:
        package: Where the classes lie, in modules that have the names of the blocks' modules.
        blocks: type -> config block.
        base: What the classes are subclasses of. Each has the ``type`` that it stands for.

    Raises:
        TypeError: If a module does not define exactly one class for a type.
    """
    found: dict[str, type[Any]] = {}
    for name, block in blocks.items():
        module = import_module(f"{package}.{block.__module__.rpartition('.')[2]}")
        classes = [
            thing
            for thing in vars(module).values()
            if isinstance(thing, type) and issubclass(thing, base) and vars(thing).get("type") == name
        ]
        if len(classes) != 1:
            raise TypeError(
                f"{module.__name__} must define one {base.__name__} of type {name!r}, not {len(classes)}"
            )
        found[name] = classes[0]
    return found
