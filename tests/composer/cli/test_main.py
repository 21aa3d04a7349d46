"""What happens to every command when nothing takes what it prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", [["presets", "list"], ["schema"], ["plan", "llava-1.5-7b"]], ids=str)
def test_a_full_disk_is_an_error_without_a_traceback(command: list[str]) -> None:
    with FULL.open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "vision_composer", *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert result.returncode == 1
    assert "cannot write: No space left on device" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_current_directory_that_is_gone_is_said(tmp_path: Path) -> None:
    code = "import os; from vision_composer.cli import main; os.rmdir(os.getcwd()); main()"
    (tmp_path / "gone").mkdir()
    (tmp_path / "a.yaml").write_text("schema: 1\nencoder: {model_type: clip_vision_model}\n")
    result = subprocess.run(
        [sys.executable, "-c", code, "validate", str(tmp_path / "a.yaml")],
        cwd=tmp_path / "gone",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (
        1,
        "the current directory is gone; change to one that exists\n",
    )
