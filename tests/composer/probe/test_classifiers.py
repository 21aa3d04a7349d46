"""The two probes, beside scikit-learn's and beside what can be said by hand."""

from __future__ import annotations

import pytest
import torch

from vision_composer.probe.classifiers import held_out_of, nearest_neighbours, ridge, standardised


def blobs(number: int, *, width: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of four overlapping classes, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(4, width, generator=torch.Generator().manual_seed(9))
    labels = torch.arange(number) % 4
    return centres[labels] + 1.5 * torch.randn(number, width, generator=generator), labels


def test_half_of_every_class_is_held_out_and_the_same_half_again() -> None:
    labels = torch.tensor([0] * 7 + [1] * 2 + [2] * 10)
    drawn = held_out_of(labels, seed=3)
    assert [int(drawn[labels == label].sum()) for label in range(3)] == [3, 1, 5]
    assert torch.equal(drawn, held_out_of(labels, seed=3))
    assert not torch.equal(drawn, held_out_of(labels, seed=4))


def test_features_are_standardised_by_those_that_are_fitted() -> None:
    fitted, judged = torch.randn(20, 5) * 3 + 2, torch.randn(8, 5)
    fitted[:, 2] = 7.0
    ours, others = standardised(fitted, judged)
    torch.testing.assert_close(ours.mean(0), torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-12)
    changing = [0, 1, 3, 4]
    torch.testing.assert_close(
        ours[:, changing].std(0, correction=0), torch.ones(4, dtype=torch.float64), rtol=1e-12, atol=0
    )
    assert not ours[:, 2].any()
    assert not others[:, 2].any()
    expected = (judged.double() - fitted.double().mean(0)) / fitted.double().std(0, correction=0)
    torch.testing.assert_close(others[:, changing], expected[:, changing], rtol=1e-12, atol=0)


def test_neighbours_vote_with_their_cosines() -> None:
    fitted = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 5.0], [-1.0, 0.0]])
    labels = torch.tensor([1, 1, 0, 0])
    judged = torch.tensor([[100.0, 1.0], [0.1, 1.0], [-3.0, 0.1]])
    assert nearest_neighbours(fitted, labels, judged, neighbours=1).tolist() == [1, 0, 0]
    assert nearest_neighbours(fitted, labels, judged[:1], neighbours=3).tolist() == [1]


def test_neighbours_are_those_of_scikit_learn() -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")
    fitted, labels = blobs(80)
    judged, _ = blobs(60, seed=1)
    peer = neighbors.KNeighborsClassifier(10, metric="cosine", weights=lambda distances: 2 - distances).fit(
        fitted.numpy(), labels.numpy()
    )
    ours = nearest_neighbours(fitted, labels, judged, neighbours=10)
    assert ours.tolist() == peer.predict(judged.numpy()).tolist()


@pytest.mark.parametrize(("number", "width"), [(80, 12), (30, 70)], ids=["tall", "wide"])
def test_the_ridge_is_that_of_scikit_learn(number: int, width: int) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    points, labels = blobs(number, width=width)
    fitted, judged = standardised(points, blobs(200, width=width, seed=1)[0])
    squares = torch.linalg.svdvals(fitted) ** 2
    strengths = [float(squares.mean()) * 10.0**power for power in range(-4, 3)]
    targets = torch.nn.functional.one_hot(labels).double().numpy()
    peer = linear_model.RidgeCV(alphas=strengths).fit(fitted.numpy(), targets)
    assert ridge(fitted, labels, judged).tolist() == peer.predict(judged.numpy()).argmax(1).tolist()


def test_features_that_say_nothing_name_the_commonest_class() -> None:
    labels = torch.tensor([0, 1, 1, 1])
    fitted, judged = standardised(torch.ones(4, 3), torch.zeros(2, 3))
    assert ridge(fitted, labels, judged).tolist() == [1, 1]
