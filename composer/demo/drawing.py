"""The demo's chart: where the digits lie in feature space, and what each hidden state knows of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .probe import ProbeResult

INK, MUTED, ACCENT = "#1f2937", "#6b7280", "#2563eb"


def project(features: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """t-SNE of ``features`` ``(n, width)`` in the plane, ``(n, 2)``; the same for the same features."""
    from sklearn.manifold import TSNE

    return np.asarray(TSNE(init="pca", perplexity=30, random_state=0).fit_transform(features))


def draw(
    path: Path,
    points: npt.NDArray[Any],
    digits: npt.NDArray[np.int64],
    results: Mapping[str, ProbeResult],
    *,
    title: str,
    left_title: str,
    right_title: str,
) -> None:
    """Write a PNG of two panels: ``points`` coloured by digit, and the probes' accuracies as bars.

    Args:
        path: Where the chart goes.
        points: Features in the plane, ``(n, 2)``.
        digits: Their labels, ``(n,)``.
        results: Accuracy by name of the features, in the order of the bars; the first is the baseline.
        title: Above both panels.
        left_title: Above the points.
        right_title: Above the bars.
    """
    # Figure and not pyplot: no window system, no global state.
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(10, 4.6), dpi=160, layout=ConstrainedLayoutEngine(wspace=0.06))
    figure.suptitle(title, fontsize=15, fontweight="bold", color=INK)
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    _draw_points(left, points, digits)
    _draw_bars(right, results)
    for panel, text in ((left, left_title), (right, right_title)):
        panel.set_title(text, fontsize=12, color=INK, loc="left")
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, facecolor="white")


def _draw_points(axes: Any, points: npt.NDArray[Any], digits: npt.NDArray[np.int64]) -> None:
    from matplotlib import colormaps

    for digit in range(10):
        chosen = points[digits == digit]
        axes.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=16,
            color=colormaps["tab10"](digit),
            label=str(digit),
            linewidth=0,
            alpha=0.8,
        )
    axes.set_xlabel("t-SNE 1", color=INK)
    axes.set_ylabel("t-SNE 2", color=INK)
    # Distances between clusters of a t-SNE mean nothing: no numbers on its axes.
    axes.set_xticks([])
    axes.set_yticks([])
    axes.legend(title="digit", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, markerscale=1.8)


def _draw_bars(axes: Any, results: Mapping[str, ProbeResult]) -> None:
    baseline, *_ = results.values()
    colours = [MUTED] + [ACCENT] * (len(results) - 1)
    accuracies = [result.accuracy for result in results.values()]
    errors = [result.standard_error for result in results.values()]
    bars = axes.barh(list(results), accuracies, xerr=errors, color=colours, height=0.7, capsize=3, ecolor=INK)
    names = [f"{accuracy:.1%}" for accuracy in accuracies]
    axes.bar_label(bars, labels=names, label_type="center", color="white", weight="bold")
    axes.axvline(baseline.accuracy, color=MUTED, linestyle="--", linewidth=1, zorder=0)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, 1.02)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0%", "25%", "50%", "75%", "100%"])
    axes.set_xlabel("accuracy ± standard error", color=INK)
