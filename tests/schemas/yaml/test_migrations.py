"""Migrating texts: the version is written, and every other byte survives."""

import codecs
import sys

import pytest
from support.loading import load
from support.offenders import offenders

from vision_composer.errors import ConfigError
from vision_composer.presets import preset_names, preset_path
from vision_composer.schemas import TowerConfig, load_yaml
from vision_composer.schemas.root import SCHEMA_VERSION
from vision_composer.schemas.yaml import migrations
from vision_composer.schemas.yaml.migrations import is_current, migrated, rename

CONFIG = """\
# yaml-language-server: $schema=vision-composer-1.json

# What the tower is for.
encoder:   &tower  # the small one
    model_type: "dinov2"
    hidden_size:  0x60
    num_attention_heads: 4
  # a note on its own line
weights:   {source: ~,dtype:   'float16'}   # flow

select_layers:
-   -2
-   -1
summary: >-
     one line
     and another
name: plain
license: null
"""


def problems(text):
    with pytest.raises(ConfigError) as caught:
        migrated(text.encode(), "a.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_the_version_of_the_model_is_the_last_of_the_migrations():
    assert list(migrations.MIGRATIONS) == list(range(SCHEMA_VERSION))
    assert load({"schema": SCHEMA_VERSION, "encoder": {"model_type": "dinov2"}}).schema_version
    assert SCHEMA_VERSION in TowerConfig.model_json_schema()["properties"]["schema"].values()


@pytest.mark.parametrize("line_break", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8], ids=["plain", "bom"])
def test_one_line_is_added_below_the_header(line_break, mark):
    text = CONFIG.replace("\n", line_break)
    head, _, rest = text.partition("encoder:")
    result = migrated(mark + text.encode(), "a.yaml")
    assert result == mark + f"{head}schema: 1{line_break}encoder:{rest}".encode()
    assert load(load_yaml(result, "a.yaml").plain()).encoder.hidden_size == 96


def test_a_current_file_is_not_touched(monkeypatch):
    monkeypatch.setitem(sys.modules, "ruamel.yaml", None)  # nor is ruamel needed

    def check(name):
        content = preset_path(name).read_bytes()
        assert is_current(content, name)
        assert migrated(content, name) is content

    assert offenders(check, preset_names()) == []


def test_a_preset_without_its_version_gets_back_what_it_was():
    def check(name):
        content = preset_path(name).read_bytes()
        older = content.replace(b"schema: 1\n", b"")
        assert not is_current(older, name)
        assert migrated(older, name) == content

    assert offenders(check, preset_names()[::5]) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema: 2\n", "a.yaml:1:9: schema: version 2 is newer than this vision-composer, which reads 1; "
         "upgrade it [VC104]"),
        ("schema_version: 7\n", "a.yaml:1:17: schema: version 7 is newer than this vision-composer, which "
         "reads 1; upgrade it [VC104]"),
        ("schema: one\n", "a.yaml:1:9: schema: expected a version, such as 1 [VC104]"),
        ("schema: true\n", "a.yaml:1:9: schema: expected a version, such as 1 [VC104]"),
        ("schema: 0\n", "a.yaml:1:9: schema: expected a version, such as 1 [VC104]"),
        ("name: x\n", "a.yaml:1:1: this is no config: it has none of the keys schema, encoder, towers "
         "and extends [VC102]"),
        ("extends: a\ndefaults: [b]\non: push\n", "a.yaml:2:1: defaults: unknown key [VC101]"),
        ("encoder: {\n", "a.yaml:2:1: did not find expected node content while parsing a flow node; "
         "a value or the closing bracket is missing [VC002]"),
        ("encoder:\n  model_type: a\tb\n", "a.yaml:1:1: cannot be migrated with its layout kept "
         "(ruamel.yaml: found character '\\t' that cannot start any token); write schema: 1 by hand [VC002]"),
        # ruamel writes a mapping in braces on one line, and drops the comments in it.
        ("{ extends: a,\n  # mine\n  name: b }\n", "a.yaml:1:1: cannot be migrated with its layout kept "
         "(its comments or values would not survive); write schema: 1 by hand [VC002]"),
    ],
)  # fmt: skip
def test_refused(text, message):
    assert problems(text)[0] == message


def test_a_later_step_changes_its_lines_only(monkeypatch):
    """A step that renames, moves, adds and removes, as a real one may; ruamel's spaces come with it."""

    def to_2(config):
        rename(config, "select_layers", "layers")
        config["encoder"]["dtype"] = config["weights"].pop("dtype")
        config["tower"] = {"head": True}
        config["schema"] = "the driver writes it"
        del config["license"]

    monkeypatch.setattr(migrations, "SCHEMA_VERSION", 2)
    monkeypatch.setitem(migrations.MIGRATIONS, 1, to_2)
    text = CONFIG.replace("encoder:   &", "schema: 1    # the format\nencoder:   &")
    result = text
    for old, new in {
        "schema: 1    # the": "schema: 2    # the",
        "  # a note on its own line\n": "  # a note on its own line\n    dtype: 'float16'\n",
        "weights:   {source: ~,dtype:   'float16'}   #": "weights: {source: null}                     #",
        "select_layers:": "layers:",
        "license: null": "tower:\n    head: true",
    }.items():
        assert old in text
        result = result.replace(old, new)
    assert migrated(text.encode(), "a.yaml").decode() == result
