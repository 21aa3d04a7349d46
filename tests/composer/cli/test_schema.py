import json
import os

import jsonschema
from typer.testing import CliRunner

from vision_composer.cli import app
from vision_composer.schemas import json_schema


def run(*arguments):
    return CliRunner().invoke(app, ["schema", *map(str, arguments)])


def test_it_prints_a_schema():
    result = run()
    assert result.exit_code == 0
    schema = json.loads(result.stdout)
    assert schema == json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)


def test_check(tmp_path):
    file = tmp_path / "schema.json"
    file.write_text(run().stdout)
    result = run("--check", file)
    assert (result.exit_code, result.output) == (0, "")
    for text in (json.dumps({**json_schema(), "title": "other"}), "{", "", "\x00"):
        file.write_text(text)
        result = run("--check", file)
        assert result.exit_code == 1
        assert "out of date" in result.stderr
    assert run("--check", tmp_path / "missing.json").exit_code == 2
    os.mkfifo(tmp_path / "pipe")  # opened as a file, it would wait for a writer
    result = run("--check", tmp_path / "pipe")
    assert result.exit_code == 2
    assert "a named pipe, not a regular file" in " ".join(result.stderr.replace("│", " ").split())
