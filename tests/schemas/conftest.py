"""Fixtures of the tests of configs."""

import pytest
from support.loading import CLIP


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes files below the current directory."""
    monkeypatch.chdir(tmp_path)

    def write(name, text=CLIP):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return write
