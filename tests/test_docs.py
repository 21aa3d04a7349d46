"""The Python examples of the guides run, and print what their comments say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

GUIDE = (Path(__file__).resolve().parent.parent / "docs/language-model.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", GUIDE, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("code", EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples_print_what_their_comments_say(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, "language-model.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    said = [line.partition("  # ")[2] for line in code.splitlines() if line.startswith("print(")]
    assert printed
    assert [line.startswith(result) for line, result in zip(said, printed, strict=True)] == [True] * len(said)
