"""Nothing that a command was given reaches the terminal as a control sequence."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
import yaml
from PIL import Image

from vision_composer import load_config
from vision_composer.cli import main

COMMANDS = Path(__file__).parents[3] / "composer/cli"
TITLE = "\x1b]0;owned\x07"
"""Sets a terminal's title."""
STEERS = re.compile(
    rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]"
)
NAMES = [f"a{TITLE}b", "a\rb", "a\x9b31mb", "a\u202eb", "a\u200fb"]


Run: TypeAlias = Callable[..., bytes]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Run the command line in ``tmp_path``, and return all that it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> bytes:
        monkeypatch.setattr(sys, "argv", ["vision-composer", *arguments])
        with contextlib.suppress(SystemExit):
            main()
        printed = capsysbinary.readouterr()
        assert printed.out + printed.err
        return printed.out + printed.err

    return run


def config(**keys: object) -> dict[str, object]:
    encoder = {"model_type": "clip_vision_model", "hidden_size": 16, "num_hidden_layers": 1}
    encoder |= {"num_attention_heads": 2, "intermediate_size": 16, "image_size": 32, "patch_size": 8}
    return {"schema": 1, "encoder": encoder, **keys}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files(name: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / f"{name}.yaml").write_text("schema: 1\nencoder: {model_type: 3}\n")
    for command in ("validate", "plan", "show", "migrate"):
        printed = run(command, f"{name}.yaml")
        assert not STEERS.search(printed), command
        assert b"b.yaml" in printed or command == "migrate"


@pytest.mark.parametrize("name", NAMES)
def test_what_a_config_says(name: str, run: Run, tmp_path: Path) -> None:
    source = f"./{name}.safetensors"
    values = config(name=name, summary=name, weights={"source": source})
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(config()))
    for arguments in (
        ("plan", "a.yaml"),
        ("plan", "a.yaml", "--json"),
        ("show", "a.yaml"),
        ("show", "a.yaml", "--resolved"),
        ("explain", "a.yaml", "summary"),
        ("explain", "a.yaml", "weights"),
        ("diff", "a.yaml", "b.yaml"),
        ("validate", "a.yaml"),
        ("plan", "a.yaml", "--set", f"encoder.{name}=1"),
    ):
        assert not STEERS.search(run(*arguments)), arguments


@pytest.mark.parametrize("summary", NAMES)
def test_a_config_is_piped_as_it_is(
    summary: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(config(summary=summary)))
    fields = {"model_type": "clip_vision_model"}
    (tmp_path / f"{summary}.json").write_text(json.dumps(fields))
    commands = ("show", "a.yaml"), ("show", "a.yaml", "--resolved"), ("init", "--from", f"{summary}.json")
    for arguments in commands:
        (tmp_path / "piped.yaml").write_bytes(run(*arguments))
        piped = load_config(tmp_path / "piped.yaml")
        assert summary in (
            piped.summary,
            (piped.source or "").partition(".json of ")[2].removesuffix(".json"),
        )
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda stream: True)
    for arguments in commands:
        assert not STEERS.search(run(*arguments)), arguments


def test_names_of_images(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in [*NAMES, "a\nencoded 99 images"]:
        (tmp_path / "in" / f"{name}.png").write_bytes(b"broken")
    Image.new("RGB", (8, 8)).save(tmp_path / "in" / f"{TITLE}.jpg")
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(config()))
    printed = run("encode", "a.yaml", "in", "-o", f"out{TITLE}")
    assert not STEERS.search(printed)
    assert len(re.findall(rb"^failed: ", printed, re.MULTILINE)) == 6
    assert len(re.findall(rb"^encoded ", printed, re.MULTILINE)) == 1
    missing = run("encode", "a.yaml", f"no{TITLE}", "-o", "out")
    assert not STEERS.search(missing)


def test_commands_print_in_one_place_only() -> None:
    prints = re.compile(r"typer\.echo|\bprint\(|sys\.std(out|err)\.write")
    found = {
        f"{path.name}: {line.strip()}"
        for path in COMMANDS.glob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if prints.search(line) and path.name != "output.py"
    }
    assert found == {
        # rich, which gets texts that are printable
        "bench.py: wide.print(report.table(result), highlight=False)",
        "encode.py: self._console.print(message, markup=False, highlight=False, soft_wrap=True)",
        'encode.py: self._console.print("failed: more images, which the list of failures will name")',
        'plan.py: console.print(Text(printable(title), "bold cyan"), summary, markup=False, highlight=False)',
        "plan.py: console.print(table, highlight=False)",
        "probe.py: wide.print(table(report, block=block), highlight=False)",
        "verify.py: Console(soft_wrap=True).print(table, highlight=False)",
    }
