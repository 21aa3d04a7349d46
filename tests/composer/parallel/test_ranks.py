"""Everything that takes several ranks, on one set of processes for each number of them.

Starting a rank costs seconds, so the cases stand together in ``rank_modules`` and ``rank_towers``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support import rank_towers
from support.ranks import outcomes_on_ranks


@pytest.mark.parametrize("world", [2, 3, 4])
def test_ranks(world: int, tmp_path: Path) -> None:
    outcomes = outcomes_on_ranks(world, rank_towers.everything, str(tmp_path), seconds=900)
    *survivors, (_, last) = outcomes
    assert last == "died", last
    for good, told in survivors:
        assert good, told
        assert told < 30, "seconds until a rank that died was an error on the others"
