import re
from importlib import resources
from pathlib import Path

from vision_composer.schemas import CODES

CODE = re.compile(r"VC\d{3}")
ROOT = Path(__file__).resolve().parents[2]
BAD = Path(__file__).parent / "bad"


WARNED = Path(__file__).parent / "warned"


def used():
    folder = Path(str(resources.files("vision_composer.schemas")))
    files = [*folder.rglob("*.py"), *Path(str(resources.files("vision_composer.presets"))).rglob("*.py")]
    return {code for file in files if file.name != "codes.py" for code in CODE.findall(file.read_text())}


def test_every_code_is_used_and_every_used_code_is_explained():
    assert used() == set(CODES)


def test_the_documentation_explains_every_code_in_the_same_words():
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^## (VC\d{3})\n\n(.+)$", text, flags=re.MULTILINE))
    assert rows == CODES
    assert list(rows) == sorted(rows)


def test_the_documented_examples_are_tested_ones():
    """Every message shown is one that a config among the bad ones gives."""
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    shown = re.findall(r"^.+:\d+:\d+: .*\[VC\d{3}\]$", text, flags=re.MULTILINE)
    shown = [re.sub(r"\w+(, \w+){20,}", "{families}", line) for line in shown]  # whichever there were
    given = {
        line
        for folder in (BAD, WARNED)
        for file in folder.glob("*.txt")
        for line in file.read_text(encoding="utf-8").splitlines()
    }
    assert len(shown) >= len(CODES) - 1  # VC010 has no position
    assert set(shown) <= given


def test_every_code_has_a_bad_config():
    given = {
        code
        for folder in (BAD, WARNED)
        for file in folder.glob("*.txt")
        for code in CODE.findall(file.read_text(encoding="utf-8"))
    }
    assert set(CODES) - given == {"VC010"}  # there is no file to it; see test_loading
