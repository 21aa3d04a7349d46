"""What a report makes of the probes: which layer is best, and which is enough."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vision_composer.errors import ImageError
from vision_composer.probe import LayerProbe, ProbeReport


def report(*right: int, total: int = 100) -> ProbeReport:
    probes = [LayerProbe(layer, "mean", 1, linear, total) for layer, linear in enumerate(right)]
    probes += [LayerProbe(layer, "class", 1, total, total) for layer in range(len(right))]
    return ProbeReport("tower", 6, ("a", "b"), 50, total, 0, 10, tuple(probes))


@pytest.mark.parametrize(
    ("right", "best", "chosen", "written"),
    [
        ((50, 70, 90), 2, 2, -5),
        ((50, 87, 90), 2, 1, -6),  # a standard error of 0.9 of 100 is 3 images
        ((50, 86, 90), 2, 2, -5),
        ((90, 90, 90), 0, 0, -7),
        ((10, 20, 100, 99), 2, 2, -5),
        ((10, 20, 30, 40, 50, 60, 70), 6, 6, -1),
    ],
)
def test_the_shallowest_layer_within_a_standard_error_is_chosen(
    right: tuple[int, ...], best: int, chosen: int, written: int
) -> None:
    found = report(*right)  # whatever the class token knows
    assert (found.best.layer, found.chosen.layer, found.select_layers) == (best, chosen, [written])


def test_accuracies() -> None:
    probe = LayerProbe(1, "mean", 40, 90, 100)
    assert (probe.knn_accuracy, probe.linear_accuracy) == (0.4, 0.9)
    assert probe.standard_error == pytest.approx(0.03)


def test_json_has_all_of_it() -> None:
    values = replace(report(50, 90), failed=(ImageError("a.png", "broken"),)).to_dict()
    assert values["failed"] == [{"image": "a.png", "reason": "broken"}]
    assert (values["best"], values["chosen"], values["select_layers"], values["seed"]) == (1, 1, [-6], 0)
    assert values["probes"][1] == {
        "layer": 1,
        "pooling": "mean",
        "knn": 1,
        "linear": 90,
        "total": 100,
        "knn_accuracy": 0.01,
        "linear_accuracy": 0.9,
        "standard_error": pytest.approx(0.03),
    }
