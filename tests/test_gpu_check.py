"""scripts/gpu_check: what it measures it writes down, however the measurement ends."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import time
from argparse import Namespace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from gpu_check import processes, ranks, report, watch
from gpu_check.log import entries
from gpu_check.recorder import Recorder
from gpu_check.sections import SHARES

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts/gpu_check"


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "gpu_check.json").read_text(encoding="utf-8"))
    return found


def worker(folder: Path, body: str) -> tuple[str, str]:
    """A command in place of the worker's; ``body`` sees ``add(**entry)`` and ``begun``, how often it ran."""
    path = folder / "worker.py"
    lines = [
        "import json, os, signal, sys, time",
        "log = sys.argv[2]",
        "past = [json.loads(line) for line in open(log)]",
        "begun = sum(entry['event'] == 'section' for entry in past)",
        "add = lambda **entry: print(json.dumps(entry | {'time': time.time()}), file=open(log, 'a'))",
        "add(event='section', section='parity', deadline=time.time() + 1)",
        body,
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return sys.executable, str(path)


def options(folder: Path, **given: Any) -> Namespace:
    return Namespace(
        **{"output": folder, "device": "cpu", "budget": 60, "quick": False, "only": ["parity"]} | given
    )


@pytest.mark.slow
def test_it_runs_on_a_cpu(tmp_path: Path) -> None:
    for budget in ("10", "100"):  # on a busy machine the first is over before anything is measured
        folder = tmp_path / budget
        command = [sys.executable, str(SCRIPT), "--device", "cpu", "--budget", budget, "-o", str(folder)]
        subprocess.run(command, check=True, timeout=300)
        found = results(folder)
        needed = (("environment", "packages"), ("parity", "aimv2_vision_model"))
        if all(found["sections"][section]["items"].get(name, {}).get("ok") for section, name in needed):
            break
    assert list(found["sections"]) == [
        *(
            "environment",
            "parity",
            "suspicions",
            "speed",
            "attention",
            "compile",
            "synchronisations",
            "encode",
        )
    ]
    items = {
        f"{section}: {name}": item
        for section, content in found["sections"].items()
        for name, item in content["items"].items()
    }
    ours = ("no time left", "stopped after", "the time was up")
    assert {n: i["error"] for n, i in items.items() if not i["ok"] and not i["error"].startswith(ours)} == {}
    assert items["environment: packages"]["ok"]
    (exact, half) = items["parity: aimv2_vision_model"]["result"]
    assert (exact["dtype"], half["dtype"]) == ("float32", "bfloat16")
    assert max(exact["features"], exact["gradients"]) < 1e-5
    assert 1e-5 < half["features"] < 0.1
    text = (folder / "gpu_check.md").read_text(encoding="utf-8")
    assert "|  | device | dtype | float32 | backend | features | gradients | finite |" in text
    assert "| packages | torch |" in text


def test_another_process_goes_on_where_one_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = """
add(event='begin', section='parity', item=f'family {begun}')
if begun == 0:
    print('Segmentation fault, they say', file=sys.stderr)
    os.kill(os.getpid(), signal.SIGSEGV)
add(event='end', section='parity', item=f'family {begun}', ok=True, seconds=1, result={'features': 0.5})
add(event='over', section='parity')
"""
    monkeypatch.setattr(watch, "THIS", worker(tmp_path, body))
    assert watch.watch(options(tmp_path)) == 0
    items = results(tmp_path)["sections"]["parity"]["items"]
    assert items["family 0"]["error"] == "the process died with exit status -11"
    assert "Segmentation fault, they say" in items["family 0"]["tail"]
    assert items["family 1"]["result"] == {"features": 0.5}
    text = (tmp_path / "gpu_check.md").read_text(encoding="utf-8")
    assert "| family 1 | 0.5 |" in text
    assert "Segmentation fault, they say" in text


def test_without_an_installation_the_checkout_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code = "import vision_composer; print(vision_composer.plan.__code__.co_filename)"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, env=processes.environment(), capture_output=True, text=True, check=True)
    assert Path(run.stdout.strip()) == processes.linked_checkout() / "vision_composer/planning/__init__.py"


def test_the_process_that_watches_needs_neither_torch_nor_the_package() -> None:
    code = "import sys, gpu_check.watch; print({'torch', 'vision_composer'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=ROOT / "scripts", capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


@pytest.mark.parametrize("section", SHARES)
def test_every_section_has_a_module(section: str) -> None:
    assert callable(import_module(f"gpu_check.sections.{section}").check)


def test_it_does_not_start_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "THIS", (sys.executable, "-c", "raise SystemExit('no module named torch')"))
    assert watch.watch(options(tmp_path)) == 0
    assert results(tmp_path)["stderr"] == "no module named torch\n"


def test_a_process_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = """
if begun == 0:
    add(event='begin', section='parity', item='clip')
    time.sleep(100)
add(event='over', section='parity')
"""
    monkeypatch.setattr(watch, "THIS", worker(tmp_path, body))
    monkeypatch.setattr(watch, "PATIENCE", 1)
    start = time.monotonic()
    assert watch.watch(options(tmp_path)) == 0
    assert time.monotonic() - start < 30
    assert results(tmp_path)["sections"]["parity"]["items"]["clip"]["error"].startswith("stopped after")


def test_an_interrupted_run_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = """
add(event='end', section='parity', item='clip', ok=True, seconds=1, result={'features': 0.25})
add(event='begin', section='parity', item='dinov2')
os.kill(os.getppid(), signal.SIGINT)
time.sleep(100)
"""
    monkeypatch.setattr(watch, "THIS", worker(tmp_path, body))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        assert watch.watch(options(tmp_path)) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    items = results(tmp_path)["sections"]["parity"]["items"]
    assert items["clip"]["result"] == {"features": 0.25}
    assert items["dinov2"]["error"] == "interrupted"


def test_a_measurement_that_fails_is_a_result(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    record = Recorder(log, "parity", "cpu", time.time() + 60, {"known"})
    for name, measure in (("known", int), ("wrong", lambda: 1 / 0), ("right", lambda: {"features": 0.5})):
        record(name, measure)
    ends = [entry for entry in entries(log) if entry["event"] == "end"]
    assert [(entry["item"], entry["ok"]) for entry in ends] == [("wrong", False), ("right", True)]
    assert ends[0]["error"] == "ZeroDivisionError: division by zero"
    assert "Traceback" in ends[0]["traceback"]


def test_without_time_only_the_first_of_a_section_runs(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    record = Recorder(log, "parity", "cpu", time.time() - 1, set())
    for name in ("first", "second"):
        record(name, dict)
    ends = {entry["item"]: entry.get("error") for entry in entries(log) if entry["event"] == "end"}
    assert ends == {"first": None, "second": "no time left"}


def test_a_rank_that_hangs_has_said_how_far_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import json, os, sys, time
print(json.dumps({"rank": os.environ["RANK"]}))
print("{", end="", flush=True)
print("It waits for ever.", file=sys.stderr, flush=True)
time.sleep(100)
"""
    monkeypatch.setattr(ranks, "THIS", (sys.executable, "-c", code))
    assert ranks.one_rank("a probe", "cpu", {"RANK": 1}, seconds=5) == {
        "rank": "1",
        "exit status": "ended after 5 s",
        "stderr": "It waits for ever.\n",
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (False, "**no**"),
        (None, "-"),
        (0.5, "0.5"),
        (1.25e-7, "1.2e-07"),
        (float("nan"), "nan"),
        ("a | b\nc", "a \\| b c"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_cells_fit_into_a_table(value: object, text: str) -> None:
    assert report.cell(value) == text


def test_rows_of_the_same_columns_make_one_table() -> None:
    items = {
        "clip": {"ok": True, "result": [{"error": 0.5}, {"error": 0.25}]},
        "dinov2": {"ok": True, "result": {"error": 0.125}},
        "pixtral": {"ok": True, "result": {"us": 3}},
    }
    (one, rows), (other, _) = report.tables(items)
    assert (one, other) == (["", "error"], ["", "us"])
    assert [row[""] for row in rows] == ["clip", "clip", "dinov2"]
