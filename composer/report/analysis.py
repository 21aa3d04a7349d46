"""What is measured of hidden states: principal components as colours, norms, and similarity of layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

NUM_COMPONENTS = 3
MOST_TOKENS = 512
"""How many tokens the similarity of layers is measured on at most."""
_STRETCHED = (2, 98)
"""The percentiles of a component that become black and full colour."""


@dataclass(frozen=True)
class Components:
    """The first principal components of tokens.

    Attributes:
        scores: (tokens, 3); zero where there are fewer components.
        explained: Which part of the variance each has.
    """

    scores: npt.NDArray[Any]
    explained: tuple[float, ...]


def principal_components(tokens: npt.NDArray[Any], before: npt.NDArray[Any] | None = None) -> Components:
    """Return the first three principal components of tokens (tokens, width), in float64.

    A component's sign means nothing. It is chosen so that the component agrees with that of the layer before,
    or else so that its largest weight is positive: the same tokens have the same colours each time.

    Args:
        tokens: The tokens.
        before: The scores of the same tokens a layer before.
    """
    centred = tokens.astype(np.float64) - tokens.mean(axis=0, dtype=np.float64)
    # Of the two products that have these eigenvalues, the smaller.
    wide = centred.shape[0] < centred.shape[1]
    values, vectors = np.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    total, scores = max(values.sum(), 0.0), np.zeros((len(tokens), NUM_COMPONENTS))
    explained = [0.0] * NUM_COMPONENTS
    for i in range(min(NUM_COMPONENTS, len(values))):
        value, vector = values[-1 - i], vectors[:, -1 - i]
        if value <= total * 1e-12:
            break
        direction = centred.T @ vector / np.sqrt(value) if wide else vector
        score = centred @ direction
        agrees = 0.0 if before is None else float(score @ before[:, i])
        if agrees < 0 or (agrees == 0 and direction[np.abs(direction).argmax()] < 0):
            score = -score
        scores[:, i], explained[i] = score, float(value / total)
    return Components(scores, tuple(explained))


def colours(scores: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return scores (tokens, 3) as red, green and blue, each stretched to its own range."""
    low, high = np.percentile(scores, _STRETCHED, axis=0)
    flat = high <= low
    stretched = np.clip((scores - low) / np.where(flat, 1, high - low), 0, 1)
    coloured: npt.NDArray[np.uint8] = np.rint(np.where(flat, 0.5, stretched) * 255).astype(np.uint8)
    return coloured


@dataclass(frozen=True)
class Norms:
    """Euclidean norms of the tokens of one hidden state.

    Attributes:
        low: The 5th percentile of the patches'.
        median: Their median.
        high: Their 95th percentile.
        largest: The largest of them.
        others: The mean of the other tokens'; None if there are none.
    """

    low: float
    median: float
    high: float
    largest: float
    others: float | None

    @classmethod
    def of(cls, patches: npt.NDArray[Any], others: npt.NDArray[Any]) -> Norms:
        """Measure tokens (tokens, width) of patches, and the others."""
        norms = np.linalg.norm(patches.astype(np.float64), axis=1)
        low, median, high = (float(value) for value in np.percentile(norms, (5, 50, 95)))
        mean = float(np.linalg.norm(others.astype(np.float64), axis=1).mean()) if len(others) else None
        return cls(low, median, high, float(norms.max()), mean)


def spread(num_tokens: int) -> npt.NDArray[np.int64]:
    """Return the indices of the tokens that :func:`linear_cka` is measured on, evenly spread."""
    kept = min(num_tokens, MOST_TOKENS)
    return np.linspace(0, num_tokens - 1, kept).round().astype(np.int64)


def linear_cka(states: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return the linear centred kernel alignment of every two of some states.

    It is 1 for states that are equal up to a rotation, a shift and one factor, and 0 for states that have
    nothing in common.

    Args:
        states: (tokens, width) each, of the same tokens; at most some hundreds.

    Returns:
        (states, states) in float64, symmetric; NaN where all tokens of a state are equal.
    """
    grams = []
    for state in states:
        centred = state.astype(np.float64) - state.mean(axis=0, dtype=np.float64)
        gram = centred @ centred.T
        norm = np.linalg.norm(gram)
        grams.append((gram / norm if norm > 0 else gram * np.nan).reshape(-1))
    stacked = np.stack(grams)
    similarity: npt.NDArray[Any] = np.clip(stacked @ stacked.T, 0, 1)
    return similarity
