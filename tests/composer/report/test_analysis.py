"""Principal components, their colours, norms, and the similarity of layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vision_composer.report.analysis import Norms, colours, linear_cka, principal_components, spread


def tokens(number: int, width: int, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    return (random.normal(size=(number, width)) * np.arange(1, width + 1)).astype(np.float32)


@pytest.mark.parametrize(("number", "width"), [(40, 6), (7, 24)])
def test_components_are_those_of_the_singular_values(number: int, width: int) -> None:
    given = tokens(number, width)
    centred = given.astype(np.float64) - given.mean(axis=0, dtype=np.float64)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    found = principal_components(given)
    expected = left[:, :3] * values[:3]
    signs = np.sign((found.scores * expected).sum(axis=0))
    np.testing.assert_allclose(found.scores, expected * signs, rtol=0, atol=1e-9 * values[0])
    np.testing.assert_allclose(found.explained, (values**2 / (values**2).sum())[:3], rtol=1e-9)


def test_the_sign_is_that_of_the_largest_weight_or_of_the_layer_before() -> None:
    given = tokens(30, 5)
    first = principal_components(given).scores
    centred = given - given.mean(axis=0)
    weights = np.linalg.lstsq(centred, first, rcond=None)[0]
    assert (weights[np.abs(weights).argmax(axis=0), range(3)] > 0).all()
    np.testing.assert_allclose(principal_components(given[::-1]).scores, first[::-1], atol=1e-4)
    np.testing.assert_allclose(principal_components(given, -first).scores, -first)


def test_there_may_be_fewer_components_than_colours() -> None:
    line = np.outer(np.arange(4.0), [1.0, 2.0])
    found = principal_components(line)
    assert found.explained == pytest.approx((1, 0, 0))
    assert not found.scores[:, 1:].any()
    assert colours(found.scores)[:, 1:].tolist() == [[128, 128]] * 4
    assert principal_components(np.ones((1, 8))).explained == (0, 0, 0)


def test_colours_span_the_whole_range_of_each_component() -> None:
    found = colours(principal_components(tokens(100, 8)).scores)
    assert found.dtype == np.uint8
    assert found.min(axis=0).tolist() == [0, 0, 0]
    assert found.max(axis=0).tolist() == [255, 255, 255]


def test_norms() -> None:
    patches = np.array([[3.0, 4.0]] * 99 + [[30.0, 40.0]])
    norms = Norms.of(patches, np.array([[0.0, 2.0], [4.0, 0.0]]))
    assert (norms.median, norms.largest, norms.others) == (5, 50, 3)
    assert Norms.of(patches, np.empty((0, 2))).others is None


def test_similarity_does_not_see_rotation_shift_and_factor() -> None:
    given = tokens(50, 6)
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))
    found = linear_cka([given, 3 * given @ rotation + 5, tokens(50, 4, seed=2), np.ones((50, 3))])
    assert found[0, 1] == pytest.approx(1)
    assert found[0, 2] < 0.5
    assert found[:3, :3] == pytest.approx(found[:3, :3].T)
    assert np.isnan(found[3]).all()


def test_similarity_is_measured_on_so_many_tokens_at_most() -> None:
    assert spread(5).tolist() == [0, 1, 2, 3, 4]
    assert len(set(spread(5000).tolist())) == 512
    assert spread(5000)[[0, -1]].tolist() == [0, 4999]
