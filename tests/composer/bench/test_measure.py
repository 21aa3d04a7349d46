"""Rounds and memory, of runs whose turns and bytes are known."""

from __future__ import annotations

import pytest
import torch

from vision_composer.bench.measure import interleaved, matmuls, peak_bytes
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_packed_products_are_the_same_products(dtype: torch.dtype) -> None:
    products = matmuls(CPU, dtype)
    small, large = products[: len(products) // 2], products[len(products) // 2 :]
    assert {flops for _, flops in small} == {2 * 32**3}
    assert {flops for _, flops in large} == {2 * 64**3}
    for ways in (small, large):
        plain, *packed = [run() for run, _ in ways]
        assert all(torch.allclose(plain, each, rtol=0.1, atol=0.1) for each in packed)


def test_nothing_is_packed_that_the_processor_cannot_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch._C, "_has_mkldnn", False)
    assert len(matmuls(CPU, torch.float32)) == 2
