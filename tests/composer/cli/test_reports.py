"""SARIF logs against what version 2.1.0 of the specification asks of the objects that are written.

The rules are written out here, after the specification's sections, since its schema is not ours to ship. They
are stricter: an object may have nothing but what is written today.
"""

import json
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import jsonschema
import pytest
from typer.testing import CliRunner

from vision_composer.cli import app

CONFIGS = Path(__file__).parents[2] / "schemas"


def exactly(required, **optional):
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


TEXT = {"type": "string", "minLength": 1}
FROM_1 = {"type": "integer", "minimum": 1}
MESSAGE = exactly({"text": TEXT})  # 3.11: text or id
URI = {"type": "string", "format": "uri-reference"}  # 3.4.3, and 3.10.1: RFC 3986
REGION = exactly({"startLine": FROM_1, "startColumn": FROM_1})  # 3.30: both count from 1
PLACE = exactly(
    {"artifactLocation": exactly({"uri": URI}), "region": REGION}
)  # 3.29: artifactLocation or address
RESULT = exactly(  # 3.27
    {
        "ruleId": {"type": "string", "pattern": r"^VC\d{3}$"},
        "ruleIndex": {"type": "integer", "minimum": 0},
        "level": {"enum": ["error", "warning"]},
        "message": MESSAGE,
    },
    locations={"type": "array", "items": exactly({"physicalLocation": PLACE}), "maxItems": 1},
)
RULE = exactly({"id": TEXT, "shortDescription": MESSAGE})  # 3.49
DRIVER = exactly(  # 3.19: name
    {"name": TEXT, "version": TEXT, "rules": {"type": "array", "items": RULE, "uniqueItems": True}}
)
RUN = exactly(  # 3.14: tool; columnKind where there are columns
    {
        "tool": exactly({"driver": DRIVER}),
        "columnKind": {"const": "unicodeCodePoints"},
        "results": {"type": "array", "items": RESULT},
    }
)
LOG = exactly(  # 3.13: version and runs
    {"$schema": URI, "version": {"const": "2.1.0"}, "runs": {"type": "array", "items": RUN, "minItems": 1}}
)


def log(*paths, **options):
    result = CliRunner().invoke(app, ["validate", "--format", "sarif", *map(str, paths)], **options)
    return json.loads(result.stdout)


def check(found):
    jsonschema.Draft202012Validator(LOG).validate(found)
    (run,) = found["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert [rules[result["ruleIndex"]] for result in run["results"]] == [
        result["ruleId"] for result in run["results"]
    ]
    return [result["locations"][0]["physicalLocation"] for result in run["results"]]


@pytest.mark.parametrize("folder", ["bad", "warned"])
def test_every_problem_there_is(folder, monkeypatch):
    monkeypatch.chdir(CONFIGS / folder)
    places = check(log("."))
    assert len(places) > 5
    for place in places:
        lines = Path(unquote(place["artifactLocation"]["uri"])).read_bytes().split(b"\n")
        assert place["region"]["startLine"] <= len(lines)


def test_odd_names_and_no_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = Path("ü b:c#%?[].yaml")
    odd.write_text("schema: 1\n")
    (place,) = check(log(odd))
    uri = place["artifactLocation"]["uri"]
    assert re.fullmatch(r"[A-Za-z0-9%._/-]+", uri)
    assert unquote(uri) == str(odd)
    assert {place["artifactLocation"]["uri"] for place in check(log("-", input="x: 1\n"))} == {"%3Cstdin%3E"}
    clean = f"schema: 1\nencoder: {{model_type: dinov2}}\nweights: {{source: {tmp_path}/a}}\n"
    assert check(log("-", input=clean)) == []


def test_a_file_outside_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "a b.yaml").write_text("schema: 1\n")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (place,) = check(log("../a b.yaml"))
    uri = urlsplit(place["artifactLocation"]["uri"])
    assert (tmp_path / "here" / unquote(uri.path)).samefile(tmp_path / "a b.yaml")
    assert uri.scheme in ("", "file")
