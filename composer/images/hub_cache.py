"""Where a checkpoint's processor config lies, as far as this machine has it. Uses no network.

The hub's cache is read as ``huggingface_hub`` lays it out, which is slow to import.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from .settings import PROCESSOR_FILES

_HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?")
_REVISION_BYTES = 200


def folder_at_hand(source: str | None, revision: str | None = None) -> Path | None:
    """Return the folder that may hold a checkpoint's processor config; None if there is none here.

    Args:
        source: A file, a folder, or a hub id; None for random weights.
        revision: Branch, tag or commit of a hub id.
    """
    if source is None:
        return None
    path = Path(source).expanduser()
    try:
        if path.exists():
            return path if path.is_dir() else path.parent
    except OSError:  # a name too long for a file; what is wrong is said where weights are read
        return None
    if not _HUB_ID.fullmatch(source):
        return None
    return _snapshot(_cache() / f"models--{source.replace('/', '--')}", revision or "main")


def _cache() -> Path:
    """Return the folder of the hub's cache."""
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if given:
        return Path(os.path.expandvars(given)).expanduser()
    home = os.environ.get("HF_HOME")
    if not home:
        home = os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(os.path.expandvars(home)).expanduser() / "hub"


def _snapshot(repository: Path, revision: str) -> Path | None:
    """Return the folder of a revision's files, if a processor config is among them."""
    if ".." in revision or os.path.isabs(revision):
        return None
    try:
        reference = repository / "refs" / revision
        if reference.is_file() and reference.stat().st_size < _REVISION_BYTES:
            revision = reference.read_text(encoding="utf-8").strip()
        folder = repository / "snapshots" / revision
        found = any((folder / name).exists() for name in PROCESSOR_FILES)
    except (OSError, ValueError):
        return None
    return folder if found else None
