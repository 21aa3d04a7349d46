"""The linear probe finds what is linearly there, and nothing where nothing is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vision_composer.demo.probe import ProbeResult, linear_probe

TRAIN, TEST = slice(0, 300), slice(300, 800)


def _labels() -> np.ndarray:
    return np.arange(800) % 10


def test_reads_labels_out_of_separable_features() -> None:
    noise = np.random.default_rng(0).normal(scale=0.1, size=(800, 10))
    result = linear_probe(np.eye(10)[_labels()] + noise, _labels(), TRAIN, TEST)
    assert result.total == 500
    assert result.accuracy > 0.99


def test_noise_stays_at_chance() -> None:
    noise = np.random.default_rng(0).normal(size=(800, 10))
    assert linear_probe(noise, _labels(), TRAIN, TEST).accuracy < 0.2


def test_labels_of_the_held_out_rows_do_not_reach_the_fit() -> None:
    features, labels = np.eye(10)[_labels()], _labels()
    labels[TEST] = (labels[TEST] + 1) % 10
    assert linear_probe(features, labels, TRAIN, TEST).correct == 0


def test_standard_error_is_the_binomial_one() -> None:
    result = ProbeResult(correct=80, total=100)
    assert result.accuracy == pytest.approx(0.8)
    assert result.standard_error == pytest.approx(math.sqrt(0.8 * 0.2 / 100))
    assert str(result) == "0.800 ± 0.040"
