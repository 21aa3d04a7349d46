"""A linear probe: what a plain linear classifier reads out of features that were computed without it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

REGULARISATION = 0.1
"""scikit-learn's C; fixed beforehand, so that it is not tuned on the digits that are held out."""


@dataclass(frozen=True)
class ProbeResult:
    """The accuracy of one probe on held-out digits."""

    correct: int
    total: int

    @property
    def accuracy(self) -> float:
        """Share of the held-out digits named rightly."""
        return self.correct / self.total

    @property
    def standard_error(self) -> float:
        """Binomial standard error of the accuracy."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.total)

    def __str__(self) -> str:
        return f"{self.accuracy:.3f} ± {self.standard_error:.3f}"


def linear_probe(
    features: npt.NDArray[Any], labels: npt.NDArray[np.int64], train: slice, test: slice
) -> ProbeResult:
    """Fit logistic regression on rows ``train`` of ``features`` ``(n, width)``, count hits on ``test``."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe: Any = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARISATION, max_iter=2000))
    probe.fit(features[train], labels[train])
    hits = probe.predict(features[test]) == labels[test]
    return ProbeResult(correct=int(hits.sum()), total=len(hits))
