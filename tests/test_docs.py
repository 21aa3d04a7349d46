"""The Python examples of the guides run, and print what their comments say."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
GUIDES = (
    "language-model.md",
    "probe.md",
    "serving.md",
    "swap-the-tower.md",
    pytest.param("export.md", marks=pytest.mark.slow),
)
OPTIONAL = {"LoraConfig": "peft", "onnxruntime": "onnxruntime"}
"""What an example imports -> the optional package that has it."""


@pytest.mark.parametrize("guide", GUIDES)
def test_examples_print_what_their_comments_say(
    guide: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A guide's examples build on each other."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")  # what they write stays outside
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / guide).read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    assert examples
    names: dict[str, Any] = {}
    for code in examples:
        if any(f"import {name}" in code and find_spec(package) is None for name, package in OPTIONAL.items()):
            continue
        exec(compile(code, guide, "exec"), names)
        printed = capsys.readouterr().out.splitlines()
        said = [line.partition("  # ")[2] for line in code.splitlines() if line.startswith("print(")]
        assert printed
        for comment, result in zip(said, printed, strict=True):
            assert comment.startswith(result), (code, printed)
