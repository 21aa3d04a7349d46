"""The name of a file until it is whole."""

from __future__ import annotations

import secrets
from pathlib import Path

LEFTOVERS = ".*.tmp"
"""The pattern of such names."""


def hidden(path: Path) -> Path:
    """Return a name beside a file that no other run takes; process numbers repeat from machine to machine."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
