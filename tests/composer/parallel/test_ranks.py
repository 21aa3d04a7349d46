"""Everything that takes several ranks, on one set of processes for each number of them.

Starting a rank costs seconds, so the cases stand together in ``sharded_cases`` and ``parallel_cases``.
"""

from __future__ import annotations

from pathlib import Path

import parallel_cases
import pytest
from ranks import outcomes_on_ranks


@pytest.mark.parametrize("world", [2, 3, 4])
def test_ranks(world: int, tmp_path: Path) -> None:
    outcomes = outcomes_on_ranks(world, parallel_cases.everything, str(tmp_path), seconds=900)
    *survivors, (_, last) = outcomes
    assert last == "died", last
    for good, told in survivors:
        assert good, told
        assert told < 30, "seconds until a rank that died was an error on the others"
