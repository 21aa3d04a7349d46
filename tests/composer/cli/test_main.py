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
