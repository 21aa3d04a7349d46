"""The demo's chart shows the numbers that it was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from vision_composer.demo.drawing import ACCENT, MUTED, draw, project
from vision_composer.demo.probe import ProbeResult

DIGITS = np.arange(60) % 10
POINTS = np.random.default_rng(0).normal(size=(60, 2))
RESULTS = {"raw pixels": ProbeResult(80, 100), "shallow": ProbeResult(60, 100), "deep": ProbeResult(97, 100)}


@pytest.fixture
def panels(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """The panels of a chart of points and results, as matplotlib knows them."""
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    titles = {"title": "Above", "left_title": "Left", "right_title": "Right"}
    draw(Path("unused.png"), POINTS, DIGITS, RESULTS, **titles)
    (figure,) = figures
    left, right = figure.axes
    assert figure.get_suptitle() == "Above"
    assert (left.get_title(loc="left"), right.get_title(loc="left")) == ("Left", "Right")
    return left, right


def test_each_digit_has_its_points_and_a_colour_of_its_own(panels: tuple[Any, Any]) -> None:
    left, _ = panels
    drawn = {dots.get_label(): dots for dots in left.collections}
    assert list(drawn) == list("0123456789")
    for digit, dots in drawn.items():
        assert np.array_equal(dots.get_offsets(), POINTS[int(digit) == DIGITS])
    assert len({tuple(dots.get_facecolor()[0]) for dots in drawn.values()}) == 10


def test_bars_are_accuracies_from_the_top_down(panels: tuple[Any, Any]) -> None:
    _, right = panels
    bars = list(right.patches)
    assert [bar.get_width() for bar in bars] == [0.8, 0.6, 0.97]
    assert [label.get_text() for label in right.get_yticklabels()] == list(RESULTS)
    assert right.yaxis_inverted()
    assert [text.get_text() for text in right.texts] == ["80.0%", "60.0%", "97.0%"]
    assert [bar.get_facecolor() for bar in bars] == [to_rgba(c) for c in (MUTED, ACCENT, ACCENT)]


def test_whiskers_are_standard_errors_and_a_line_marks_the_baseline(panels: tuple[Any, Any]) -> None:
    _, right = panels
    (whiskers,) = right.collections
    for whisker, result in zip(whiskers.get_segments(), RESULTS.values(), strict=True):
        reach = [result.accuracy - result.standard_error, result.accuracy + result.standard_error]
        assert whisker[:, 0] == pytest.approx(reach)
    baseline = [line for line in right.lines if line.get_linestyle() == "--"]
    assert [list(line.get_xdata()) for line in baseline] == [[0.8, 0.8]]


def test_the_same_features_lie_at_the_same_places() -> None:
    features = np.random.default_rng(1).normal(size=(100, 8))
    features[50:] += 30
    places = project(features)
    assert places.shape == (100, 2)
    assert np.array_equal(project(features), places)
    one, other = places[:50], places[50:]
    apart = np.linalg.norm(one.mean(0) - other.mean(0))
    assert apart > max(np.linalg.norm(half - half.mean(0), axis=1).mean() for half in (one, other))
