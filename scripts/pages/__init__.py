"""The pages of the site that are made from the code. ``docs/conf.py`` has them written at every build."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from . import commands, house, keys, presets, python
from .markdown import root_file

PAGES: dict[str, Callable[[], str]] = {
    "changelog.md": lambda: root_file("CHANGELOG.md"),
    "commands.md": commands.page,
    "connector-keys.md": keys.connectors,
    "contributing.md": lambda: root_file("CONTRIBUTING.md"),
    "encoder-keys.md": keys.encoders,
    "house.txt": lambda: house.drawing() + "\n" + house.modules(),
    "keys.md": keys.blocks,
    "presets.md": presets.page,
    "python.md": python.page,
    "security.md": lambda: root_file("SECURITY.md"),
}
"""Every file of ``docs/reference/`` -> what makes its text. ``design.md`` includes the house."""


def write_reference(folder: Path) -> None:
    """Write all of them into a folder, which holds nothing else afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, text in PAGES.items():
        (folder / name).write_text(text(), encoding="utf-8")
