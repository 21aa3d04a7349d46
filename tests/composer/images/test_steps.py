"""Sizes on their way through a processor, worked out by hand: the images themselves are in test_whole."""

from __future__ import annotations

import pytest

from vision_composer.errors import InputError
from vision_composer.images.steps import Steps

BOX = {"height": 32, "width": 24}
PAD = {"height": 40, "width": 48}


@pytest.mark.parametrize(
    ("steps", "sizes"),
    [
        (Steps(), [(100, 40)] * 4),
        (Steps(box=(30, 20)), [(100, 40), (30, 20), (30, 20), (30, 20)]),
        (Steps(shortest=20), [(100, 40), (50, 20), (50, 20), (50, 20)]),
        (Steps(shortest=20, limit=30), [(100, 40), (30, 12), (30, 12), (30, 12)]),
        (Steps(shortest=20, limit=60), [(100, 40), (50, 20), (50, 20), (50, 20)]),
        (Steps(inside=(50, 50)), [(100, 40), (50, 20), (50, 20), (50, 20)]),
        (Steps(longest=50), [(100, 40), (50, 20), (50, 20), (50, 20)]),
        (Steps(longest=50, shortest=25), [(100, 40), (50, 25), (50, 25), (50, 25)]),
        (Steps(shortest=20, crop=(16, 18)), [(100, 40), (50, 20), (16, 18), (16, 18)]),
        (Steps(squares=True, box=(32, 32)), [(100, 100), (32, 32), (32, 32), (32, 32)]),
        (Steps(longest=50, pads=True), [(100, 40), (50, 20), (50, 20), (50, 50)]),
        (Steps(longest=50, padded=(64, 60)), [(100, 40), (50, 20), (50, 20), (64, 60)]),
    ],
    ids=str,
)
def test_every_step_in_its_place(steps: Steps, sizes: list[tuple[int, int]]) -> None:
    assert list(steps.sizes(100, 40)) == sizes
    assert steps(100, 40) == sizes[-1]


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ({"do_resize": False, "size": BOX}, Steps()),
        ({"size": {"shortest_edge": 20, "longest_edge": 30}}, Steps(shortest=20, limit=30)),
        ({"size": {"max_height": 9, "max_width": 8}}, Steps(inside=(8, 9))),
        ({"size": BOX, "do_center_crop": True, "crop_size": BOX}, Steps(box=(24, 32), crop=(24, 32))),
        (
            {"size": BOX, "crop_size": BOX, "do_pad": True, "pad_size": PAD},
            Steps(box=(24, 32), padded=(48, 40)),
        ),
    ],
)
def test_arguments_become_steps(values: dict[str, object], steps: Steps) -> None:
    assert Steps.of({"do_resize": True, **values}) == steps


def test_what_cannot_be() -> None:
    with pytest.raises(InputError, match="so thin cannot be resized: nothing is left"):
        Steps(inside=(10, 10))(1000, 5)
    with pytest.raises(InputError, match="resized to 50x20 pixels cannot be padded to 40x40"):
        Steps(longest=50, padded=(40, 40))(100, 40)
    with pytest.raises(LookupError):
        Steps.of({"do_resize": True, "size": {}})


def test_the_side_of_a_large_square() -> None:
    assert Steps(shortest=20).largest_side == 20
    assert Steps(longest=50, crop=(16, 18)).largest_side == 16


def test_no_side_is_shorter_than_the_least() -> None:
    assert Steps(longest=50, shortest=25)(40, 100) == (25, 50)
