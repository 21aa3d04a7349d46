"""The runtime's few steps make the encoder's own inputs, or there are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.tiny import config

from vision_composer import compose
from vision_composer.encoder import ComposedVisionEncoder
from vision_composer.errors import ImageError, InputError
from vision_composer.export.exporting import preprocessing_of
from vision_composer.export.preprocessing import Preprocessing

CLIP = "CLIPImageProcessor"


def encoder(name: str, **processor: Any) -> ComposedVisionEncoder:
    composed = compose(config(name, select_layers=[0], image_processor=processor))
    assert isinstance(composed, ComposedVisionEncoder)
    return composed


@pytest.mark.parametrize(
    ("name", "processor"),
    [
        ("clip_vision_model", {"type": CLIP, "size": {"shortest_edge": 40}, "crop": 32}),
        ("clip_vision_model", {"type": CLIP, "size": {"shortest_edge": 20}, "crop": 32}),
        ("clip_vision_model/indivisible", {}),
        ("siglip_vision_model", {}),
        ("qwen2_vl_vision", {}),
        ("glm4v_vision", {}),
    ],
)
def test_inputs_are_the_encoders_to_the_bit(name: str, processor: dict[str, Any]) -> None:
    composed = encoder(name, **processor)
    steps = Preprocessing.of(preprocessing_of(composed))
    generator = np.random.default_rng(1)
    images = [
        Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for width, height in ((77, 50), (21, 90), (33, 33))
    ]
    wanted, found = composed.preprocess(images), steps(images)
    assert wanted.keys() == found.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("name", ["janus_vision_model", "phi4_multimodal_vision"])
def test_what_is_more_than_these_steps_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(InputError, match="does more than the runtime's steps; bring pixel_values"):
        Preprocessing.of(preprocessing_of(encoder(name)))


def test_images_that_make_no_batch_are_refused() -> None:
    steps = Preprocessing.of(preprocessing_of(encoder("qwen2_vl_vision")))
    with pytest.raises(InputError, match=r"write .image."):
        steps(Image.new("RGB", (9, 9)))  # type: ignore[arg-type]  # what is refused
    with pytest.raises(ImageError, match=r"image 1: cannot be preprocessed: .* too thin"):
        steps([Image.new("RGB", (90, 90)), Image.new("RGB", (900, 2))])
    uncropped = encoder("dinov2", size={"shortest_edge": 32}, crop=False)
    with pytest.raises(InputError, match="keep different sizes"):
        Preprocessing.of(preprocessing_of(uncropped))([Image.new("RGB", (size, 32)) for size in (32, 40)])
