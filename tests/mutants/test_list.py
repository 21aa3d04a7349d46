"""The list of mutants fits the code: each text is there once, and each test by its name."""

from __future__ import annotations

import runpy
from pathlib import Path

MUTANTS = runpy.run_path(str(Path(__file__).resolve().parents[2] / "scripts/mutants.py"))


def test_every_line_still_fits() -> None:
    mutants = MUTANTS["read_list"]()
    assert len(mutants) >= 120
    assert MUTANTS["faults"](mutants) == [], "mend tests/mutants/mutants.tsv"
