"""Parts of data parallelism that need no second rank; ``test_ranks`` has the rest."""

from __future__ import annotations

import torch

from vision_composer.parallel.data import PendingFeatures, _one_after_the_other, _smallest


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
