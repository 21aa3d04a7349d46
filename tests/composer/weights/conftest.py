"""Fixtures of the tests of weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import tiny
from support.checkpoints import ENCODER


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which transformers saved a whole tiny tower, in one file."""
    return tiny.save(tiny.reference(ENCODER), tmp_path / "tower")
