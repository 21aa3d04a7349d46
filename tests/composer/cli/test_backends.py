"""``backends`` and ``plan --device``."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from vision_composer import AttentionBackend, register_attention_backend
from vision_composer.cli import app, main
from vision_composer.schemas import ATTENTION_BACKEND_PLUGINS

NAMES = [backend.value for backend in AttentionBackend]


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [*map(str, arguments)])


def rows(*arguments: object) -> dict[str, list[str]]:
    result = run("backends", *arguments)
    assert result.exit_code == 0, result.output
    return {line.split()[0]: line.split(maxsplit=2)[1:] for line in result.stdout.splitlines()}


@pytest.mark.parametrize("packed", [[], ["--packed"]], ids=str)
def test_every_backend_is_listed_and_one_is_chosen(packed: list[str]) -> None:
    listed = rows("--device", "cpu", *packed)
    assert sorted(listed) == sorted(NAMES)
    assert [name for name, (state, _) in listed.items() if state == "chosen"] == ["sdpa"]
    assert listed["eager"] == ["works", "sdpa is preferred"]
    assert listed["flash_attention_3"] == ["no", "runs on CUDA, not on cpu"]
    assert listed["flex_attention"][0] == ("works" if packed else "no")


def test_a_config_brings_its_own_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert rows("qwen2.5-vl/7b", "--device", "cuda")["varlen"][0] == "chosen"
    assert rows("qwen2.5-vl/7b", "--device", "cuda", "--dtype", "float32")["sdpa"][0] == "chosen"
    assert rows("llava-1.5-7b", "--device", "cuda")["varlen"][0] == "no"
    result = run("backends", "llava-1.5-7b", "--head-size", 64)
    assert result.exit_code == 2
    assert "the config's own" in result.stderr


def test_json_and_a_device_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    result = run("backends", "--device", "cuda:3", "--dtype", "bfloat16", "--packed", "--format", "json")
    facts = json.loads(result.stdout)
    assert (facts["device"], facts["backend"]) == ("cuda:3", "varlen")
    assert "cuda:3 is not in this machine" in facts["note"]
    assert set(facts["passed_over"]) == set(NAMES) - {"varlen"}
    states = {row["name"]: (row["works"], row["chosen"]) for row in facts["backends"]}
    assert states["varlen"] == (True, True)
    assert states["sdpa"] == (True, False)
    assert states["flash_attention_3"] == (False, False)
    text = run("backends", "--device", "cuda:3", "--packed")
    assert "cuda:3 is not in this machine" in text.stderr


def test_training_and_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows("--device", "cpu", "--packed", "--training")["flex_attention"][0] == "no"
    register_attention_backend("acme.plain", lambda *_: None)
    try:
        assert rows("--device", "cpu")["acme.plain"][0] == "works"
        assert rows("--device", "cpu", "--packed")["acme.plain"][0] == "no"
    finally:
        ATTENTION_BACKEND_PLUGINS.unregister("acme.plain")


@pytest.mark.parametrize("command", [["backends"], ["plan", "tiny-digits"]], ids=str)
def test_a_device_that_is_none(command: list[str]) -> None:
    result = run(*command, "--device", "gpu")
    assert result.exit_code == 2
    assert "'gpu' is not a device" in result.stderr


def test_plan_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    facts = json.loads(run("plan", "qwen2.5-vl/7b", "--device", "cuda:0", "--json").stdout)
    assert facts["attention"]["backend"] == "varlen"
    assert set(facts["attention"]["passed_over"]) == set(NAMES) - {"varlen"}
    text = " ".join(run("plan", "qwen2.5-vl/7b", "--device", "cuda:0").stdout.split())
    assert "attention varlen on cuda:0: the first that works here" in text
    assert "not sdpa: varlen is preferred" in text
    assert "cuda:0 is not in this machine" in text
    assert "attention" not in json.loads(run("plan", "qwen2.5-vl/7b", "--json").stdout)


def test_plan_of_a_backend_that_cannot_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["plan", "tiny-digits", "--set", "attn_backend=varlen", "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["vision-composer", *arguments])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "varlen is for packed images" in capsys.readouterr().err
