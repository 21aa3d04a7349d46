"""SECURITY.md promises nothing that no test holds."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SECURITY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", SECURITY)))


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_every_test_that_is_named_is_there(file: str, name: str) -> None:
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_promise_names_a_test() -> None:
    rows = [line for line in SECURITY.splitlines() if line.startswith("|") and "---" not in line]
    promises = [row for row in rows if not row.startswith(("| refused", "| promise"))]
    assert len(promises) > 20
    assert [row for row in promises if "::test_" not in row] == []


def test_ranks_exchange_no_pickles() -> None:
    objects = re.compile(r"(\w*_object(_list)?|\bpickle\b\W*(dumps|loads))\(")
    for path in (ROOT / "composer/parallel").glob("*.py"):
        assert not objects.search(path.read_text(encoding="utf-8")), path.name
