"""The README: its config is valid, and its commands exist. Its Python runs in ``test_guides.py``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def test_the_yaml_is_valid_and_the_error_is_what_validate_prints(tmp_path: Path) -> None:
    (config,) = blocks("yaml")
    (console,) = blocks("console")
    command, _, shown = console.partition("\n")
    path = tmp_path / "my-tower.yaml"
    path.write_text(config)

    def validate() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "vision_composer", *command.split()[2:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    assert validate().returncode == 0, validate().stdout
    path.write_text(config.replace("-9]", "-29]"))
    assert validate().stdout.strip() == shown.strip()


def test_commands_exist() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "vision_composer", "--help"], capture_output=True, text=True, check=True
    )
    named = set(re.findall(r"^vision-composer (\w+)", README, flags=re.MULTILINE))
    assert named
    for command in named:
        assert re.search(rf"^\s+{command}\b", result.stdout, flags=re.MULTILINE), command
