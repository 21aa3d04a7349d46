"""Files until they are whole: under another name, and on the disk before they get their own."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import IO

LEFTOVERS = ".*.tmp"
"""The pattern of such names."""


def hidden(path: Path) -> Path:
    """Return a name beside a file that no other run takes; process numbers repeat from machine to machine."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def sync(file: IO[bytes]) -> None:
    """Have the disk keep what was written, or a loss of power could leave a name without content."""
    file.flush()
    os.fsync(file.fileno())
