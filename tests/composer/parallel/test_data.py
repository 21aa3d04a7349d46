"""Parts of data parallelism that need no second rank; ``test_ranks`` has the rest."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import rank_towers, tiny
from support.compare import assert_close
from support.ranks import alone_in_a_group
from torch import Tensor

from vision_composer import compose
from vision_composer.encoders.dense import DenseBatch
from vision_composer.parallel import CostModel, DataParallel
from vision_composer.parallel.data import PendingFeatures, _one_after_the_other, _smallest
from vision_composer.running import compilation
from vision_composer.running.compilation import CompileSettings
from vision_composer.schemas import ParallelConfig


def test_features_are_waited_for_once() -> None:
    made: list[torch.Tensor] = []

    def finish() -> torch.Tensor:
        made.append(torch.zeros(1))
        return made[-1]

    pending = PendingFeatures(finish)
    assert pending.wait() is pending.wait()
    assert len(made) == 1


def test_a_rank_without_images_runs_the_smallest() -> None:
    assert _smallest([(1, 4, 4), (3, 2, 2), (1, 2, 5), (1, 9, 9)]) == 2


def test_images_of_ranks_follow_each_other() -> None:
    assert _one_after_the_other([2, 0, 3]) == [[0, 1], [], [2, 3, 4]]
    assert _one_after_the_other([3, 2, 1]) == [[0, 1, 2], [3, 4], [5]]


@torch.no_grad()
def test_features_in_the_memory_of_a_cuda_graph_outlive_the_next_forward(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A forward with CUDA graphs writes to the same memory every time; that of a rank is copied, too."""
    graphs = CompileSettings("eager", dynamic=True, freeze=False, cuda_graphs=True)
    monkeypatch.setattr(compilation, "compile_settings", lambda *_, **__: graphs)
    begun: list[None] = []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: begun.append(None))
    alone = compose(rank_towers.keys(rank_towers.CLIP))
    encoder = compose(rank_towers.keys(rank_towers.CLIP, compile={"mode": "reduce-overhead"}))
    encoder.load_state_dict(alone.state_dict())
    batches = [tiny.pixels(rank_towers.CLIP, seed=seed) for seed in (0, 1)]
    want = [alone(pixel_values=pixels) for pixels in batches]
    static = torch.empty_like(want[0])
    split = DenseBatch.split

    def into_static_memory(self: DenseBatch, features: Tensor, *rest: Any) -> Tensor:
        return static.copy_(split(self, features, *rest))

    monkeypatch.setattr(DenseBatch, "split", into_static_memory)
    with alone_in_a_group() as group:
        spread = DataParallel(
            encoder.tower,
            encoder.preprocessor,
            group,
            ParallelConfig(mode="data"),
            CostModel(encoder.plan),
            "",
        )
        pending = [spread.start(pixel_values=pixels) for pixels in batches]
        for features, expected in zip(pending, want, strict=True):
            assert_close(features.wait(), expected)
    assert len(begun) == 2
