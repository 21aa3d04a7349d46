"""scripts/cpu_tables.py: which benches run, and that one that fails stops no other."""

from __future__ import annotations

import io
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import cpu_tables
import pytest
import yaml
from cpu_tables import Case, cases, measure
from support import tiny
from support.results import RESULT

from vision_composer import plan

AVX2 = frozenset({"avx2"})
AMX = AVX2 | {"avx512f", "avx512_bf16", "amx_bf16"}
SHOWN = json.dumps(RESULT.to_dict())


def test_only_what_the_processor_has_is_run() -> None:
    names = [case.name for case in cases(AVX2, 5)]
    assert names == [
        "CLIP float32 AVX2",
        "CLIP bfloat16 AVX2",
        "SigLIP float32 AVX2",
        "Qwen2.5-VL float32 AVX2",
        "Pixtral float32 AVX2",
    ]
    assert [case.name for case in cases(AMX, 5)][:5] == [
        "CLIP float32 AVX2",
        "CLIP float32 AVX-512",
        "CLIP bfloat16 AVX2",
        "CLIP bfloat16 AVX-512",
        "CLIP bfloat16 AMX",
    ]


@pytest.mark.parametrize(("flags", "beside"), [(AVX2, "CLIP float32 AVX2"), (AMX, "CLIP float32 AVX-512")])
def test_onnxruntime_is_timed_only_with_the_instructions_that_it_uses(
    flags: frozenset[str], beside: str
) -> None:
    assert [case.name for case in cases(flags, 5) if "onnxruntime" in case.command] == [beside]


def test_the_configs_of_all_benches_are_valid() -> None:
    for case in cases(AMX, 5):
        name, *options = case.arguments
        overrides = [value for option, value in pairwise(options) if option == "--set"]
        assert plan(name, overrides=overrides).num_blocks <= 8


def fake(monkeypatch: pytest.MonkeyPatch, folder: Path, body: str) -> None:
    """Have a script of this body run in place of the bench; ``name`` is its first argument."""
    script = folder / "bench"
    script.write_text(f"#!{sys.executable}\nimport os, sys, time\nname = sys.argv[4]\n{body}\n")
    script.chmod(0o755)
    monkeypatch.setattr(cpu_tables.sys, "executable", str(script))


def test_tables_are_written_and_failures_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(
        monkeypatch,
        tmp_path,
        "if name == 'bad': sys.exit('no such tower')\n"
        f"print('a warning', name) if name == 'odd' else print({SHOWN!r})",
    )
    written = io.StringIO()
    chosen = [Case(name, (name,), {"ISA": "AVX2"}) for name in ("bad", "odd", "good")]
    assert measure(chosen, written, timeout=60) == ["bad", "odd"]
    text = written.getvalue()
    assert "Failed: exit status 1: no such tower" in text
    assert "Failed: no JSON" in text
    assert "$ ISA=AVX2 vision-composer bench good\n" in text
    assert "| vision-composer, compiled | 100 | 100-100 | 4.00 | 200 | 100% | 30.0 |" in text
    assert "| good | 4.00 | - | 100% |" in text
    assert "3 of 3" in capsys.readouterr().err


def test_a_bench_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, tmp_path, "time.sleep(60)")
    with pytest.raises(RuntimeError, match="more than 0 seconds"):
        Case("slow", ("x",), {}).run(0.3)


def test_libraries_are_held_to_what_the_command_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(
        monkeypatch,
        tmp_path,
        "print('{\"isa\":', repr(os.environ.get('ONEDNN_MAX_CPU_ISA', '')).replace(\"'\", '\"'), '}')",
    )
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    assert Case("free", ("x",), {}).run(60) == {"isa": ""}
    assert Case("held", ("x",), {"ONEDNN_MAX_CPU_ISA": "AVX2"}).run(60) == {"isa": "AVX2"}


@pytest.mark.slow
def test_a_tiny_tower_is_measured(tmp_path: Path, capsys: Any) -> None:
    config = tmp_path / "tower.yaml"
    config.write_text(yaml.safe_dump({"schema": 1, "encoder": tiny.PACKED["pixtral"]}))
    arguments = (str(config), "--set", "compile.backend=eager", "--against", "transformers", "--rounds", "1")
    written = io.StringIO()
    assert measure([Case("tiny", arguments, {})], written, timeout=200) == []
    assert "| vision-composer, compiled |" in written.getvalue()
