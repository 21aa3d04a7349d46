"""A gather in one process: what is announced, and what is sent; ``test_ranks`` has several."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support.rank_towers import poisoned_memory
from support.ranks import alone_in_a_group

from vision_composer.errors import InputError
from vision_composer.parallel import gather
from vision_composer.parallel.gather import RowGather, _Transfer


@pytest.fixture
def alone() -> Iterator[Any]:
    """A group of this process alone."""
    with alone_in_a_group() as group:
        yield group


@pytest.mark.parametrize("rows", [2, 4])
def test_other_rows_than_were_announced(alone: Any, rows: int) -> None:
    with pytest.raises(InputError, match=f"{rows} rows on rank 0, where 3 were announced"):
        RowGather(torch.zeros(rows, 5), [3], alone)
    (part,) = RowGather(torch.ones(3, 5), [3], alone).wait()
    assert torch.equal(part, torch.ones(3, 5))


def test_what_is_sent_does_not_depend_on_what_memory_held(
    alone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[torch.Tensor] = []
    monkeypatch.setattr(gather, "_all_gather_single", lambda whole, rows, **_: sent.append(rows))
    with poisoned_memory():
        _Transfer(torch.ones(1, 2), [1, 3], alone).launch()
    assert sent[0].tolist() == [[1, 1], [0, 0], [0, 0]]


def test_nccl_is_sent_the_rows_and_no_more(alone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[list[int]] = []
    monkeypatch.setattr(gather, "backend_of", lambda *_: "nccl")
    monkeypatch.setattr(
        gather.dist, "all_gather", lambda buffers, rows, **_: sent.append([*map(len, buffers)])
    )
    monkeypatch.setattr(gather, "_all_gather_single", lambda whole, rows, **_: sent.append([len(whole)]))
    for counts in ([2, 5, 0], [2, 2, 2]):
        _Transfer(torch.ones(2, 2), counts, alone).launch()
    assert sent == [[2, 5, 0], [6]]


def test_a_group_without_a_backend_for_the_rows(alone: Any) -> None:
    with pytest.raises(InputError, match="no backend for tensors on meta, only cpu:gloo"):
        RowGather(torch.ones(3, 5, device="meta"), [3], alone)
