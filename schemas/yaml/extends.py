"""``extends``: the layers below a config, each a preset or a file, merged from left to right."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ...errors import ConfigError
from ..paths import config_file, display_name, looks_like_path
from .merge import merge
from .nodes import Loc, Node
from .reading import read_yaml

FindPreset = Callable[[str], Path]
"""The file of a preset, by name; raises ConfigError for an unknown name."""

_MOST = 16
"""Layers below a file, and files in a chain."""


class Layers:
    """Reads a config with everything it extends; a file that several layers extend is read once.

    Args:
        find_preset: The file of a preset, by name.
        root: The folder that holds every file a config may extend, besides presets; None for the folder of
            the config that is read first.
    """

    def __init__(self, find_preset: FindPreset, root: Path | None = None) -> None:
        self._find_preset = find_preset
        self._root = root
        self._done: dict[str, Node] = {}

    def read(self, path: Path, trail: tuple[str, ...] = (), root: Path | None = None) -> Node:
        """The file at ``path`` merged over what it extends.

        Args:
            path: A YAML file.
            trail: The real paths of the files that led here.
            root: The folder that holds every file it may extend; None for what the whole config has.

        Raises:
            ConfigError: If a file cannot be read, or an ``extends`` leads nowhere, in a circle or too far.
        """
        real = os.path.realpath(path)
        if real not in self._done:
            tree = read_yaml(path.absolute(), display_name(path))
            self._done[real] = self.merged(tree, path.absolute().parent, (*trail, real), root)
        return self._done[real]

    def merged(
        self,
        tree: Node,
        folder: Path,
        trail: tuple[str, ...] = (),
        root: Path | None = None,
        key: Loc = ("extends",),
    ) -> Node:
        """``tree`` merged over what it extends, without the key itself.

        Args:
            tree: A config.
            folder: What relative paths in its ``extends`` are relative to.
            trail: The real paths of the files that led here, its own last.
            root: The folder that holds every file it may extend; None for what the whole config has.
            key: What errors call the place where it says what it extends.

        Raises:
            ConfigError: For the same reasons as ``read``.
        """
        tree = self.with_towers(tree, folder, trail, root)
        extends = tree.child("extends")
        if extends is None:
            return tree
        names = extends.value if isinstance(extends.value, list) else [extends]
        if len(names) > _MOST:
            raise _error(extends, key, f"a config cannot extend more than {_MOST} others")
        below = Node({})
        for name in names:
            below = merge(below, self._layer(name, key, folder, trail, root or self._root or folder))
        own = {key: child for key, child in tree.value.items() if key != "extends"}
        return merge(below, replace(tree, value=own))

    def with_towers(
        self, tree: Node, folder: Path, trail: tuple[str, ...] = (), root: Path | None = None
    ) -> Node:
        """``tree`` with each of its ``towers`` merged over what it extends; a name alone extends that.

        Args:
            tree: A config.
            folder: As for ``merged``, and the others too.
            trail: The real paths of the files that led here.
            root: The folder that holds every file it may extend.

        Raises:
            ConfigError: For the same reasons as ``read``.
        """
        towers = tree.child("towers")
        if towers is None or not isinstance(towers.value, dict):
            return tree
        whole = {}
        for name, tower in towers.value.items():
            key: Loc = ("towers", name)
            if isinstance(tower.value, str):
                tower = replace(tower, value={"extends": tower})
            else:
                key = (*key, "extends")
            whole[name] = self.merged(tower, folder, trail, root, key)
        return replace(tree, value={**tree.value, "towers": replace(towers, value=whole)})

    def _layer(self, name: Node, key: Loc, folder: Path, trail: tuple[str, ...], root: Path) -> Node:
        text = name.value
        if not isinstance(text, str) or not text:
            raise _error(name, key, "expected a preset's name, a path, or a list of them")
        if "://" in text:
            raise _error(name, key, "a URL is not read; download the file and write its path")
        path = self._path(name, key, text, folder, root)
        real = os.path.realpath(path)
        if real in trail:
            chain = [*trail[trail.index(real) :], real]
            raise _error(
                name, key, f"leads in a circle: {' -> '.join(os.path.basename(file) for file in chain)}"
            )
        if len(trail) >= _MOST:
            raise _error(name, key, f"a config cannot be extended over a chain of more than {_MOST} files")
        # A preset's own files come from where the preset does, not from below the user's root.
        return self.read(path, trail, root if looks_like_path(text) else path.absolute().parent)

    def _path(self, name: Node, key: Loc, text: str, folder: Path, root: Path) -> Path:
        if looks_like_path(text):
            _confine(name, key, text, folder, root)  # before anything says whether the file is there
        there = config_file(folder / os.path.expanduser(text))
        if looks_like_path(text):
            if there is None:
                raise _error(name, key, f"no such file: {text}")
            return there
        try:
            return self._find_preset(text)
        except ConfigError as error:
            hint = f"; for the file beside this one write ./{text}" if there else ""
            raise _error(name, key, error.problems[0].message + hint) from None


def _confine(name: Node, key: Loc, text: str, folder: Path, root: Path) -> None:
    """Refuse a path that leaves ``root``, symbolic links followed."""
    try:
        real = Path(os.path.realpath(folder / os.path.expanduser(text)))
    except ValueError:  # a NUL in the name: no such file
        return
    if not real.is_relative_to(os.path.realpath(root)):
        message = (
            f"{text} leads out of the folder of the config that is loaded; to allow it, name a folder that "
            "holds both with --root FOLDER (in Python, load_config(..., root=FOLDER))"
        )
        raise _error(name, key, message)


def _error(at: Node, key: Loc, message: str) -> ConfigError:
    return ConfigError(at.problem("VC007", message, key))
