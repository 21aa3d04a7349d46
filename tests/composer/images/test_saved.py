"""What a checkpoint's processor config says, and what is said of one that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vision_composer.errors import WeightsError
from vision_composer.images.saved import saved_values


def test_what_cannot_be_read_is_said_without_an_error_number(tmp_path: Path) -> None:
    file = tmp_path / "preprocessor_config.json"
    os.mkfifo(file)
    with pytest.raises(
        WeightsError, match=r"config\.json: cannot be read: a named pipe, not a regular file$"
    ):
        saved_values(tmp_path)
    file.unlink()
    file.write_text("[")
    with pytest.raises(WeightsError, match="not readable as a JSON object"):
        saved_values(tmp_path)
