"""Pillow's own steps beside the image processor that they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.compiled import WAYS, choose
from support.images import noise_image
from support.processors import CROPPED, SQUARE, dense, ragged
from support.processors import settings as values_of

from vision_composer.errors import ImageError
from vision_composer.images.image_steps import ImageSteps
from vision_composer.images.preprocess import ImagePreprocessor
from vision_composer.images.processors import grey_values

CASES: dict[str, ImagePreprocessor] = {
    "resized and cropped": dense(values_of("CLIPImageProcessor", **CROPPED)),
    "resized to less than the crop": dense(
        values_of("CLIPImageProcessor", size={"shortest_edge": 21}, crop_size={"height": 40, "width": 39})
    ),
    "cropped alone": dense(values_of("CLIPImageProcessor", **{**CROPPED, "do_resize": False})),
    "squashed": dense(values_of("SiglipImageProcessor", **SQUARE)),
    "grey": dense(values_of("CLIPImageProcessor", **CROPPED), num_channels=1),
    "patches": ragged(values_of("Qwen2VLImageProcessor", size={"shortest_edge": 3136, "longest_edge": 9000})),
    "patches once": ragged(values_of("Qwen2VLImageProcessor", temporal_patch_size=1, merge_size=1)),
}


@pytest.fixture(params=WAYS)
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(request.param, monkeypatch)


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("case", CASES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(width=st.integers(1, 150), height=st.integers(1, 150))
def test_they_are_the_processors_to_the_bit(case: str, width: int, height: int) -> None:
    preprocess = CASES[case]
    read, levels = preprocess.reader.read, preprocess.levels
    assert isinstance(read, ImageSteps)
    assert levels is not None
    image = noise_image(width, height)
    try:
        got: dict[str, Any] = preprocess([image])
    except ImageError:
        return  # the processor refuses it, too: it is too thin
    grey = preprocess.reader.num_channels == 1
    options: dict[str, Any] = {"do_convert_rgb": False, **grey_values(preprocess.processor)} if grey else {}
    wanted = preprocess.processor(image.convert("L") if grey else image, return_tensors="np", **options)
    pixels = np.asarray(wanted["pixel_values"], np.float32)
    np.testing.assert_array_equal(got["pixel_values"].numpy(), pixels[:1] if grey else pixels)
    assert got.keys() == wanted.keys()
    if "image_grid_thw" in wanted:
        np.testing.assert_array_equal(got["image_grid_thw"].numpy(), wanted["image_grid_thw"])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("LlavaImageProcessor", {"do_pad": True}),
        ("DeepseekVLImageProcessor", {}),
        ("PixtralImageProcessor", {}),
        ("Kimi_K25ImageProcessor", {}),
    ],
)
def test_what_takes_more_steps_is_left_to_the_processor(name: str, values: dict[str, Any]) -> None:
    made = values_of(name, **values)
    preprocess = dense(made) if made.processor_class.inputs == "pixels" else ragged(made)
    assert not isinstance(preprocess.reader.read, ImageSteps)
    assert preprocess.levels is not None
