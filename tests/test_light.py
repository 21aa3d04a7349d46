"""The light environment: what reads configs runs without torch, and what needs torch says so in a line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from vision_composer.cli import app

ROOT = Path(__file__).resolve().parent.parent
CONFIG = "extends: clip/vit-base-patch32\nsummary: ${name}\nweights: {source: ./model.safetensors}\n"
LIGHT = [
    ["validate", "a.yaml"],
    ["validate", str(ROOT / "presets")],
    ["plan", "a.yaml"],
    ["plan", "llava-next-vicuna-7b", "--set", "output=embeds", "--image-size", "640x480"],
    ["plan", "openvla-7b"],
    ["presets", "list"],
    ["presets", "show", "tiny-digits"],
    ["schema"],
    ["show", "a.yaml", "--resolved"],
    ["explain", "a.yaml", "encoder.hidden_act"],
    ["diff", "a.yaml", "tiny-digits"],
    ["init", "siglip_vision_model"],
    ["migrate", "old.yaml"],
    ["lock", "a.yaml"],
    ["lock", "--check", "a.yaml"],
    ["plugins"],
    ["--help"],
]
HEAVY = [
    ["encode", "tiny-digits", str(ROOT / "docs/images"), "-o", "out"],
    ["backends"],
    ["bench", "tiny-digits"],
    ["export", "tiny-digits", "-o", "a.pt2"],
    ["verify", "tiny-digits", str(ROOT / "docs/images/demo.png")],
    ["demo", "-o", "out"],
    ["new-family", "x", "--from", "vit"],
    ["probe", "tiny-digits", str(ROOT / "docs")],
    ["inspect", "tiny-digits", str(ROOT / "docs/images/demo.png"), "-o", "page.html"],
    ["job", str(ROOT / "docs")],
]


def _pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pins = (line.partition("==") for line in lines if "==" in line and not line.startswith("#"))
    return {re.sub(r"[-_.]+", "-", package).lower(): version for package, _, version in pins}


def test_the_versions_are_those_that_are_tested() -> None:
    assert _pins("requirements-light.txt").items() <= _pins("constraints.txt").items()


def test_a_missing_package_is_said_in_one_line() -> None:
    code = "import sys; sys.modules['torch'] = None; from vision_composer.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "backends"], capture_output=True, text=True, check=False
    )
    said = "backends needs torch, which a light environment leaves out: pip install .\n"
    assert (result.returncode, result.stdout, result.stderr) == (1, "", said)


def test_every_command_is_tried() -> None:
    tried = {arguments[0] for arguments in [*LIGHT, *HEAVY]} - {"--help"}
    assert tried == set(typer.main.get_group(app).commands)


@pytest.mark.slow
def test_a_light_environment_runs_what_needs_no_torch(tmp_path: Path) -> None:
    folder = tmp_path / "env"
    own = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=tmp_path, env=own | {"PYTHON": sys.executable}, capture_output=True, text=True
        )

    made = run(str(ROOT / "scripts/light_env.sh"), str(folder))
    if made.returncode and re.search("connection|resolution|No matching distribution", made.stderr):
        pytest.skip(f"pip cannot install here: {made.stderr.strip().splitlines()[-1]}")
    assert made.returncode == 0, made.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["env"]
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    assert size < 100e6
    assert not list(folder.glob("lib/python3*/site-packages/torch"))
    program = str(folder / "bin/vision-composer")
    (tmp_path / "a.yaml").write_text(CONFIG)
    (tmp_path / "old.yaml").write_text("encoder: {model_type: dinov2}\n")
    (tmp_path / "model.safetensors").write_bytes(b"")
    for arguments in LIGHT:
        result = run(program, *arguments)
        assert result.returncode == 0, (arguments, result.stderr)
    for arguments in HEAVY:
        result = run(program, *arguments)
        said = rf"{arguments[0]} needs \w+, which a light environment leaves out: pip install \.\n"
        assert result.returncode in (1, 2), arguments
        assert re.fullmatch(said, result.stderr), (arguments, result.stderr)


def test_the_hook_runs_in_a_light_environment() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    script = ROOT / hook["entry"].split()[0]
    assert hook["language"] == "script"
    assert os.access(script, os.X_OK)
    assert "light_env.sh" in script.read_text(encoding="utf-8")
