"""The pages that are made for the site leave nothing out."""

from __future__ import annotations

import re
import tomllib

from pages import commands, house, keys, markdown, presets, python
from support.guides import ROOT

import vision_composer
from vision_composer.cli import app
from vision_composer.schemas import ENCODER_CONFIGS
from vision_composer.schemas.json_schema import json_schema


def test_every_key_of_every_block_has_a_row() -> None:
    made = keys.blocks() + keys.encoders() + keys.connectors()
    rows = set(re.findall(r"^\| `(\w+)` \|", made, flags=re.MULTILINE))
    schema = json_schema()
    blocks = [schema, *schema["$defs"].values()]
    assert {key for block in blocks for key in block["properties"]} - rows == set()
    headings = set(
        re.findall(r"`([\w-]+)`", " ".join(re.findall(r"^## (.*)$", keys.encoders(), re.MULTILINE)))
    )
    assert headings >= set(ENCODER_CONFIGS)
    links = set(re.findall(r"#(block-\w+)\)", made))
    assert links
    assert links <= set(re.findall(r"^\((block-\w+)\)=$", made, flags=re.MULTILINE))


def test_rows_say_what_a_key_takes() -> None:
    made = keys.blocks()
    assert "| `schema` | `1`; required |" in made
    assert "| `post_norm` | `auto`, `none`, `last`, `each`; default `auto` |" in made
    assert "| `select_layers` | list of integer or null |" in made
    assert "| `keep` | number above 0, at most 1; default `0.5` |" in made


def test_names_in_angle_brackets_are_written_once_for_html() -> None:
    made = keys.blocks()
    assert "`project.<tower>.weight`" in made
    assert "&lt;" not in made
    assert markdown.prose("a <b> and `c <d>`") == "a \\<b> and `c <d>`"


def test_every_command_has_its_options() -> None:
    made = commands.page()
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__.replace("_", "-")
        assert f"\n## {name}\n" in made
    assert "\n## presets list\n" in made
    assert re.search(r"^\| `--image-size <?\w+>?` \| \w", made, flags=re.MULTILINE)


def test_every_public_name_has_an_entry() -> None:
    made = python.page()
    entries = set(re.findall(r"^### `(\w+)`$", made, flags=re.MULTILINE))
    assert entries == set(vision_composer.__all__) - {"__version__", "VisionComposerError"}
    assert ".. autoexception:: vision_composer.errors.VisionComposerError" in made


def test_a_preset_has_what_its_plan_says() -> None:
    row = presets._row("llava-1.5-7b")
    assert row[:5] == ("`llava-1.5-7b`", "`clip_vision_model`", "336", "576", "1,024")
    assert presets._row("openvla-7b")[1] == "`dinov2_with_registers` + `siglip_vision_model`"
    assert presets._row("tiny-digits")[6] == "with the package"


def test_the_house_has_a_floor_for_every_layer() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (each for each in settings["tool"]["importlinter"]["contracts"] if each["type"] == "layers")
    names = [name for layer in contract["layers"] for name in re.findall(r"\w+", layer)]
    assert re.findall(r'<text class="code".*?>(\w+)</text>', house.drawing()) == names
    assert len(re.findall(r"^\| `\w+` \| [\w`].+ \|$", house.modules(), flags=re.MULTILINE)) == len(names)
