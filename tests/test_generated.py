"""Files that are made from the code are what the code makes."""

from __future__ import annotations

import runpy
from pathlib import Path

import pydantic
import pytest

ROOT = Path(__file__).resolve().parent.parent
GENERATED = runpy.run_path(str(ROOT / "scripts/generate.py"))["GENERATED"]
OLD_PYDANTIC = tuple(map(int, pydantic.VERSION.split(".")[:2])) < (2, 14)


@pytest.mark.parametrize("name", GENERATED)
def test_it_is_up_to_date(name: str) -> None:
    if name.startswith("schemas/json") and OLD_PYDANTIC:
        pytest.skip("older versions of pydantic word the same schema in other ways")
    held = (ROOT / name).read_text(encoding="utf-8")
    assert held == GENERATED[name](), f"{name} is out of date: run `make generate`"
