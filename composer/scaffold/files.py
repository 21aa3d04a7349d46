"""The files of a plugin for one encoder, as text."""

from __future__ import annotations

import json

from .family_code import TODO, family_module
from .reading import Encoder

_PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{distribution}"
version = "0.1.0"
dependencies = ["vision-composer"]

[project.entry-points."vision_composer.encoders"]
"{model_type}" = "{package}.encoder:ENCODER"

[tool.setuptools]
packages = ["{package}"]
"""

_PRESET = """\
schema: 1
name: {package}
summary: {model} with random weights.
encoder:
  model_type: {model_type}
weights:
  source: null  # TODO: name a hub id, a folder or a .safetensors file.
"""

_TEST = '''\
"""What vision-composer relies on, checked for {model_type} beside {model} of transformers."""

from pathlib import Path

from vision_composer import load_config
from vision_composer.testing import check_encoder


def test_the_encoder() -> None:
    check_encoder("{model_type}")


def test_the_preset() -> None:
    load_config(Path(__file__).with_name("{package}.yaml"))
'''


def files_of(encoder: Encoder, package: str, model_type: str) -> dict[str, str]:
    """Return the files of a plugin by their paths.

    Args:
        encoder: What is known of the encoder.
        package: The plugin's import name.
        model_type: What configs call the encoder.
    """
    words = {
        "package": package,
        "distribution": package.replace("_", "-"),
        "model_type": model_type,
        "model": encoder.classes.model.__name__,
    }
    return {
        "pyproject.toml": _PYPROJECT.format(**words),
        f"{package}/__init__.py": f'"""{model_type} for vision-composer: one encoder family."""\n',
        f"{package}/encoder.py": family_module(encoder, f"{package}/encoder.py", model_type),
        f"{package}.yaml": _PRESET.format(**words),
        f"test_{package}.py": _TEST.format(**words),
    }


def todos(text: str) -> list[tuple[int, str]]:
    """Return what is left to do in a file: the number of the line where it is said, and the sentence."""
    lines = text.splitlines()
    found = []
    for number, line in enumerate(lines, start=1):
        if TODO not in line:
            continue
        words = [_said(line).partition(TODO)[2]]
        for more in lines[number:]:
            if TODO in more or not more.strip().startswith(("# ", '"')):
                break
            words.append(_said(more))
        found.append((number, " ".join(words)))
    return found


def _said(line: str) -> str:
    """Return what a comment or a string on a line of its own says."""
    line = line.strip()
    return json.loads(line).strip() if line.startswith('"') else line.removeprefix("# ")
