"""What probes found. Loads no torch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import ImageError


@dataclass(frozen=True)
class LayerProbe:
    """How many held-out images the probes on one hidden state named rightly.

    Attributes:
        layer: The hidden state, 0 to N.
        pooling: What stands for an image: ``mean`` of its patch tokens, or the ``class`` token.
        knn: Right by the nearest neighbours.
        linear: Right by the linear probe.
        total: Images that were held out.
    """

    layer: int
    pooling: str
    knn: int
    linear: int
    total: int

    @property
    def knn_accuracy(self) -> float:
        """Share that the nearest neighbours name rightly."""
        return self.knn / self.total

    @property
    def linear_accuracy(self) -> float:
        """Share that the linear probe names rightly."""
        return self.linear / self.total

    @property
    def standard_error(self) -> float:
        """Binomial standard error of :attr:`linear_accuracy`."""
        return math.sqrt(self.linear_accuracy * (1 - self.linear_accuracy) / self.total)


@dataclass(frozen=True)
class ProbeReport:
    """Probes on every hidden state of an encoder.

    Attributes:
        name: The config's name, or the encoder's model_type.
        depth: Blocks of the full encoder, N.
        classes: The labels, sorted.
        num_fitted: Images that the probes were fitted on.
        num_held_out: Images that they were judged on.
        seed: What drew the held-out images; None if the caller said which.
        neighbours: How many neighbours vote.
        probes: One for each hidden state and pooling, in that order.
        failed: The images that were left out, with the reason.
    """

    name: str
    depth: int
    classes: tuple[str, ...]
    num_fitted: int
    num_held_out: int
    seed: int | None
    neighbours: int
    probes: tuple[LayerProbe, ...]
    failed: tuple[ImageError, ...] = ()

    def of(self, pooling: str) -> tuple[LayerProbe, ...]:
        """Return the probes of one pooling, in the order of the layers; none where there is no such token."""
        return tuple(probe for probe in self.probes if probe.pooling == pooling)

    @property
    def best(self) -> LayerProbe:
        """The hidden state whose patch tokens the linear probe reads best; of equals the shallowest."""
        return max(self.of("mean"), key=lambda probe: probe.linear)

    @property
    def chosen(self) -> LayerProbe:
        """The shallowest hidden state within a standard error of :attr:`best`: blocks beyond it gain nothing
        that this many images could show.
        """
        enough = self.best.linear_accuracy - self.best.standard_error
        return next(probe for probe in self.of("mean") if probe.linear_accuracy >= enough)

    @property
    def select_layers(self) -> list[int]:
        """What the result speaks for, counted from the full depth as configs write it."""
        return [self.chosen.layer - self.depth - 1]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        probes = [
            {
                **asdict(probe),
                "knn_accuracy": probe.knn_accuracy,
                "linear_accuracy": probe.linear_accuracy,
                "standard_error": probe.standard_error,
            }
            for probe in self.probes
        ]
        return {
            "name": self.name,
            "depth": self.depth,
            "classes": list(self.classes),
            "num_fitted": self.num_fitted,
            "num_held_out": self.num_held_out,
            "seed": self.seed,
            "neighbours": self.neighbours,
            "probes": probes,
            "best": self.best.layer,
            "chosen": self.chosen.layer,
            "select_layers": self.select_layers,
            "failed": [{"image": error.name, "reason": error.reason} for error in self.failed],
        }
