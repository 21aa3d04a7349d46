"""Names of files that are not whole yet: no two runs have the same, and a cleaner finds them all."""

from __future__ import annotations

from pathlib import Path

from vision_composer.jobs.hidden import LEFTOVERS, hidden


def test_names(tmp_path: Path) -> None:
    names = [hidden(tmp_path / "part-00000.parquet") for _ in range(100)]
    for name in names:
        name.touch()
    assert set(tmp_path.glob(LEFTOVERS)) == set(names)
    assert len(set(names)) == 100
