"""``plugins`` lists what configs can name, and fails for what cannot be used."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from vision_composer import plugins
from vision_composer.cli import app
from vision_composer.errors import PluginError
from vision_composer.plugins import Registered

FOUND = [
    Registered("encoder", "clip_vision_model", "built in", None, "/a/clip.py"),
    Registered("feature selector", "acme.first", "acme", "1.2", None),
]


@pytest.mark.parametrize("errors", [[], [PluginError("broken 1.2 cannot be imported")]], ids=["none", "one"])
def test_what_there_is_and_what_is_broken(errors: list[PluginError], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "registered", lambda: (FOUND, errors))
    result = CliRunner().invoke(app, ["plugins"])
    assert result.stdout.splitlines() == [
        "encoder           clip_vision_model  built in  /a/clip.py",
        "feature selector  acme.first         acme 1.2",
    ]
    assert result.stderr == "".join(f"{error}\n" for error in errors)
    assert result.exit_code == len(errors)
    as_json = CliRunner().invoke(app, ["plugins", "--json"])
    assert json.loads(as_json.stdout)[1] == {
        "kind": "feature selector",
        "name": "acme.first",
        "source": "acme",
        "version": "1.2",
        "file": None,
    }
