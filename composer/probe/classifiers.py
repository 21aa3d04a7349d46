"""Probes: nearest neighbours and ridge regression, in torch and in float64."""

from __future__ import annotations

import torch
from torch import Tensor

NEIGHBOURS = 10
_STRENGTHS = tuple(10.0**power for power in range(-4, 3))
"""Strengths of the ridge that are tried, relative to the mean squared singular value of the features."""


def held_out_of(labels: Tensor, *, seed: int) -> Tensor:
    """Draw the images that are held out: half of every class, or the smaller half of an odd number.

    Args:
        labels: (images,) int64. No class has one image only.
        seed: What draws them.

    Returns:
        (images,) bool.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in sorted(set(labels.tolist())):
        rows = (labels == label).nonzero().squeeze(1)
        drawn = rows[torch.randperm(len(rows), generator=generator)]
        chosen[drawn[: len(rows) // 2]] = True
    return chosen


def standardised(fitted: Tensor, judged: Tensor) -> tuple[Tensor, Tensor]:
    """Return both, (images, width), in float64, with mean 0 and deviation 1 of each feature of ``fitted``."""
    fitted, judged = fitted.double(), judged.double()
    mean, deviation = fitted.mean(0), fitted.std(0, correction=0)
    scale = torch.where(
        deviation > 1e-12 * deviation.max(), deviation, torch.inf
    )  # what never changes is out
    return (fitted - mean) / scale, (judged - mean) / scale


def nearest_neighbours(fitted: Tensor, labels: Tensor, judged: Tensor, *, neighbours: int) -> Tensor:
    """Name images by their neighbours of the largest cosine; each votes with its cosine.

    Args:
        fitted: (images, width).
        labels: Their classes, (images,) int64, 0 to C - 1.
        judged: (others, width).
        neighbours: How many vote.

    Returns:
        Classes, (others,) int64.
    """
    unit = torch.nn.functional.normalize
    cosines, nearest = (unit(judged) @ unit(fitted).T).topk(neighbours)
    votes = torch.zeros(len(judged), int(labels.max()) + 1, dtype=cosines.dtype)
    return votes.scatter_add_(1, labels[nearest], cosines + 1).argmax(1)


def ridge(fitted: Tensor, labels: Tensor, judged: Tensor) -> Tensor:
    """Name images by ridge regression on classes as one-hot rows, its strength chosen by leave-one-out.

    Args:
        fitted: (images, width), standardised.
        labels: Their classes, (images,) int64, 0 to C - 1.
        judged: (others, width).

    Returns:
        Classes, (others,) int64.
    """
    targets = torch.nn.functional.one_hot(labels).to(fitted.dtype)
    mean = targets.mean(0)
    left, values, right = torch.linalg.svd(fitted, full_matrices=False)
    projected = left.T @ (targets - mean)
    squares = values**2
    best: tuple[float, Tensor] | None = None
    for strength in _STRENGTHS:
        shrunk = squares / (squares + strength * squares.mean()) if squares.any() else squares
        residuals = targets - mean - left @ (shrunk[:, None] * projected)
        leverage = (left**2 @ shrunk + 1 / len(fitted)).clamp(max=1 - 1e-9)  # and that of the mean
        error = float(((residuals / (1 - leverage)[:, None]) ** 2).sum())
        if best is None or error < best[0]:
            best = error, shrunk
    assert best is not None
    inverse = torch.where(values > 0, best[1] / values, 0.0)
    scores: Tensor = mean + judged @ right.T @ (inverse[:, None] * projected)
    return scores.argmax(1)
