"""A first version of a plugin with one encoder family, read off transformers' class of the encoder."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ..encoders import FAMILIES
from ..errors import InputError
from .classes import classes_of
from .files import files_of, todos
from .reading import read_encoder


class Written(NamedTuple):
    """A plugin that was written.

    Attributes:
        model_type: What configs call its encoder.
        files: Its files.
        todos: What is left to do: file, line, and a sentence.
    """

    model_type: str
    files: list[Path]
    todos: list[tuple[Path, int, str]]


def new_family(name: str, model_type: str, folder: Path) -> Written:
    """Write a plugin with one encoder family, and what is left to do in it.

    Configs call the encoder by transformers' model type; where this package has a family of that name, by
    ``name``.

    Args:
        name: The plugin's import name.
        model_type: The encoder's model type in transformers.
        folder: Where to write; it need not exist. Nothing in it is overwritten.

    Raises:
        InputError: If the name cannot be used, transformers has no such encoder, or a file is there already.
    """
    _check_name(name)
    called = name if model_type in FAMILIES else model_type
    if called in FAMILIES:
        raise InputError(f"{called} has a family already; for a variant of it, choose another name")
    texts = files_of(read_encoder(classes_of(model_type)), name, called)
    paths = {folder / path: text for path, text in texts.items()}
    for path in paths:
        if path.exists():
            raise InputError(f"{path} is there already, and nothing is overwritten; name another folder")
    for path, text in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    left = [(path, *todo) for path, text in paths.items() for todo in todos(text)]
    return Written(called, list(paths), left)


def _check_name(name: str) -> None:
    if re.fullmatch(r"[a-z][a-z0-9_]*", name) is None or keyword.iskeyword(name):
        raise InputError(
            f"{name!r} is no name of a package: take small letters, digits and underscores, such as my_vit"
        )
    found = find_spec(name)
    if name in sys.stdlib_module_names or (found is not None and found.origin is not None):
        raise InputError(f"a module called {name} is installed already; take another name")
