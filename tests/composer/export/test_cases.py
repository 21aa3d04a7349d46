"""The batches of a check differ from the one that is traced, in all that may differ."""

from __future__ import annotations

from support.tiny import config

from vision_composer import compose
from vision_composer.encoder import ComposedVisionEncoder
from vision_composer.export.cases import cases_of


def cases(name: str) -> tuple[set[int], set[tuple[int, ...]], list[str]]:
    """Numbers of images, shapes of pixels without that, and names."""
    encoder = compose(config(name, select_layers=[0]))
    assert isinstance(encoder, ComposedVisionEncoder)
    made = cases_of(encoder)
    shapes = {tuple(case.exported["pixel_values"].shape[1:]) for case in made}
    return {len(case.batch) for case in made}, shapes, [case.name for case in made]


def test_fixed_sizes_come_in_several_numbers() -> None:
    numbers, shapes, names = cases("clip_vision_model")
    assert numbers == {1, 2, 3, 4}
    assert shapes == {(3, 32, 32)}
    assert names[0] == "2 images of 32, 32"


def test_any_sizes_differ() -> None:
    numbers, shapes, _ = cases("dinov2")
    assert numbers == {1, 2, 3, 4}
    assert len(shapes) == 4


def test_packed_images_have_grids_of_their_own() -> None:
    numbers, _, names = cases("qwen2_vl_vision")
    assert numbers == {1, 2, 3, 4}
    assert len(set(names)) == 4
    assert names[2].startswith("1 image of (1, ")
