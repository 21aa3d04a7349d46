"""Which strings are paths, which file a path means, and what errors call it."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from ..text import did_you_mean, printable

_HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?")

TOWER_FILE = "tower.yaml"
"""The config in a saved tower's folder."""


def looks_like_path(text: str) -> bool:
    """Whether ``text`` can only be a path: a preset or a hub id has at most one slash and no extension."""
    return (
        text.startswith(("./", "../", "/", "~"))
        or text in (".", "..")
        or text.endswith((".yaml", ".yml"))
        or text.count("/") > 1
        or "\\" in text
    )


def config_file(path: str | Path) -> Path | None:
    """The config that ``path`` means: the file itself, or a saved tower's; None when there is none."""
    expanded = os.path.expanduser(path)
    if os.path.isdir(expanded):
        expanded = os.path.join(expanded, TOWER_FILE)
    return Path(expanded) if os.path.exists(expanded) else None


def display_name(path: Path) -> str:
    """``path`` as errors show it: on one line, and relative where it lies below the current directory."""
    with suppress(ValueError):
        path = path.absolute().relative_to(Path.cwd())
    return printable(str(path), line=True)


def is_weights_path(source: str) -> bool:
    """Whether a weights source can only be a path, and no hub id."""
    return looks_like_path(source) or source.endswith(".safetensors")


def is_hub_id(text: str) -> bool:
    """Whether ``text`` has the form of a hub id."""
    return _HUB_ID.fullmatch(text) is not None


def near_miss(source: str) -> str:
    """What an error of a hub id adds where it may be a mistyped path: its folder is here; "" where not."""
    folder, _, name = source.rpartition("/")
    try:
        names = os.listdir(folder) if folder else []
    except (OSError, ValueError):
        return ""
    if not names or name in names:
        return ""
    hint = did_you_mean(name, names)
    return printable(f" (the folder {folder} is here, and holds no {name}{hint})", line=True)


def source_fault(source: str) -> str | None:
    """What is wrong with a weights source that is neither a path nor a hub id; None when nothing is."""
    if "://" in source:
        return "a URL is not read; write a hub id (organisation/name), or the path of downloaded files"
    if is_weights_path(source) or is_hub_id(source):
        return None
    if os.path.exists(source):
        return None
    return f"{source!r} is no hub id (organisation/name); a path starts with ./, ../, / or ~"


def absolute_weights(source: str, folder: Path | None) -> str:
    """A weights source as an absolute path, if it is a path and not a hub id.

    Args:
        source: What the config says.
        folder: The folder of the file that says it; None for the current directory.
    """
    if "://" in source:
        return source
    path = os.path.abspath(os.path.join(folder or "", os.path.expanduser(source)))
    if not source or not (is_weights_path(source) or os.path.exists(path)):
        return source
    return path
