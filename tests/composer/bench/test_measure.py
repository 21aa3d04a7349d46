"""Rounds and memory, of runs whose turns and bytes are known."""

from __future__ import annotations

import pytest
import torch

from vision_composer.bench.measure import interleaved, peak_bytes
from vision_composer.errors import InputError

CPU = torch.device("cpu")


def test_every_run_has_its_turn_in_every_round() -> None:
    calls: list[str] = []
    runs = [lambda name=name: calls.append(name) for name in "abc"]
    seconds = interleaved(runs, 3, CPU)
    assert "".join(calls) == "abcbcacab"
    assert [len(times) for times in seconds] == [3, 3, 3]
    with pytest.raises(InputError, match="0 rounds"):
        interleaved(runs, 0, CPU)


def test_peak_memory_counts_what_is_held_at_once() -> None:
    def run() -> torch.Tensor:
        first = torch.ones(1000, dtype=torch.float32)
        second = first + 1
        del first
        return second * 2

    assert 8000 <= peak_bytes(run, CPU) < 8100  # two of three, and numbers
