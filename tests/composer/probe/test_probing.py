"""Probes on an encoder's layers: what they find, and what they cannot be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import fused
from support.images import noise_image

from vision_composer import compose, probe_layers
from vision_composer.errors import InputError
from vision_composer.probe import Labelled, load_digits

IMAGES = [noise_image(width, 32) for width in range(30, 38)]
LABELS = ["a", "b"] * 4


@pytest.fixture(scope="module")
def encoder() -> Any:
    return compose("tiny-digits")


@pytest.fixture(scope="module")
def digits() -> Labelled:
    every = load_digits()
    assert every.held_out is not None
    chosen = [*range(0, 381, 4), *range(381, 891, 4)]
    return Labelled(*([values[i] for i in chosen] for values in (every.images, every.labels, every.held_out)))


def test_deeper_layers_of_an_encoder_of_digits_know_more(encoder: Any, digits: Labelled) -> None:
    report = probe_layers(encoder, digits.images, digits.labels, held_out=digits.held_out, batch_size=64)
    assert (report.num_fitted, report.num_held_out) == (96, 128)
    assert [(probe.layer, probe.pooling) for probe in report.probes] == [(k, "mean") for k in range(5)]
    first, *_, last = report.probes
    assert first.linear_accuracy < 0.5 < 0.85 < last.linear_accuracy
    assert first.knn_accuracy < 0.5 < 0.85 < last.knn_accuracy
    assert (report.depth, report.seed, report.neighbours) == (4, None, 10)
    assert report.chosen.layer >= 3


def test_labels_that_mean_nothing_are_not_learned(encoder: Any, digits: Labelled) -> None:
    labels = [str(i * 7919 % 5) for i in range(len(digits.images))]
    report = probe_layers(encoder, digits.images, labels, batch_size=64)
    assert all(probe.linear_accuracy < 0.4 for probe in report.probes)


def test_the_same_images_are_held_out_in_every_run(encoder: Any) -> None:
    first = probe_layers(encoder, IMAGES, LABELS, seed=1)
    assert first == probe_layers(encoder, IMAGES, LABELS, seed=1, batch_size=3)
    assert (first.seed, first.num_fitted, first.num_held_out, first.neighbours) == (1, 4, 4, 4)


def test_hidden_states_of_blocks_that_are_not_built_are_not_there() -> None:
    cut: Any = compose("tiny-digits", overrides=["select_layers=[-3]"])
    report = probe_layers(cut, IMAGES, LABELS)
    assert [probe.layer for probe in report.probes] == [0, 1, 2]
    assert report.depth == 4


def test_images_that_cannot_be_read_are_left_out(encoder: Any, tmp_path: Path) -> None:
    broken = [str(tmp_path / f"{i}.png") for i in range(2)]
    for name in broken:
        Path(name).write_bytes(b"no image")
    report = probe_layers(encoder, [broken[0], *IMAGES, broken[1]], ["a", *LABELS, "b"])
    assert [error.name for error in report.failed] == broken
    assert report.probes == probe_layers(encoder, IMAGES, LABELS).probes
    with pytest.raises(InputError, match=r"class 'c' has one image that could be read \(.*0\.png"):
        probe_layers(encoder, [*IMAGES, IMAGES[0], broken[0]], [*LABELS, "c", "c"])
    with pytest.raises(InputError, match="there are no images that could be read"):
        probe_layers(encoder, broken * 2, ["a", "b", "b", "a"])


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (["a"] * 8, {}, "all images are of the class 'a'"),
        (["a"] * 7 + ["b"], {}, "class 'b' has one image: it takes two"),
        (["a"] * 7, {}, "numbers of images and of labels differ: 8 and 7"),
        (LABELS, {"held_out": [True] * 3}, "numbers of images and of values of held_out differ: 8 and 3"),
        (LABELS, {"held_out": [False] * 8}, "no image is held out"),
        (LABELS, {"held_out": [True, False] * 4}, "all images of the class 'a' are held out"),
        (LABELS, {"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_what_cannot_be_asked(encoder: Any, labels: list[str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        probe_layers(encoder, IMAGES, labels, **options)


def test_no_images_and_several_towers(encoder: Any) -> None:
    with pytest.raises(InputError, match="there are no images to probe with"):
        probe_layers(encoder, [], [])
    with pytest.raises(InputError, match="layers are probed of one tower"):
        probe_layers(fused.composed({"dino": fused.DINO, "clip": fused.CLIP}), IMAGES, LABELS)
