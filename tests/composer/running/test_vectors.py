"""The size of vectors is part of the key of torch's cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from vision_composer.running.vectors import vector_options

_COMPILED = """
import torch
from torch.nn import GELU, LayerNorm, Linear, Sequential
from vision_composer.running.vectors import vector_options
torch.manual_seed(0)
plain = Sequential(LayerNorm(160), Linear(160, 200), GELU(), Linear(200, 160))
compiled = torch.compile(plain, dynamic=True, options=vector_options("inductor", "cpu") or None)
rows = torch.randn(37, 160)
with torch.no_grad():
    torch.testing.assert_close(compiled(rows), plain(rows))
"""


@pytest.mark.slow
def test_code_in_a_cache_that_another_kind_of_processor_left(tmp_path: Path) -> None:
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        pytest.skip("this processor has no AVX-512, and so cannot stand for two kinds")
    for held in ({}, {"ATEN_CPU_CAPABILITY": "avx2"}, {}):
        subprocess.run(
            [sys.executable, "-c", _COMPILED],
            env={**os.environ, **held, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)},
            check=True,
        )


@pytest.mark.parametrize(
    ("capability", "arguments", "options"),
    [
        ("AVX512", ("inductor", "cpu"), {"cpp.simdlen": 512}),
        ("AVX2", ("inductor", "cpu"), {"cpp.simdlen": 256}),
        ("DEFAULT", ("inductor", "cpu"), {}),
        ("AVX2", ("inductor", "cuda"), {}),
        ("AVX2", ("aot_eager", "cpu"), {}),
    ],
)
def test_options(
    capability: str, arguments: tuple[str, str], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert vector_options(*arguments) == options
