"""Images to tiles: how many, of which image, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.vlms.parts import CLIP

from vision_composer import compose
from vision_composer.errors import ImageError, WeightsError
from vision_composer.images import preprocess_tiles
from vision_composer.images.preprocess_tiles import TiledPreprocessor, TileReader, cutting_processor

SIZES = [(75, 40), (64, 64), (20, 90)]
KEYS: dict[str, Any] = {
    "schema": 1,
    "encoder": CLIP,
    "output": "tiles",
    "image_processor": {"type": "LlavaNextImageProcessor"},
    "tiling": {"type": "llava_next", "image_grid_pinpoints": [[32, 64], [64, 32], [64, 64]]},
}


def preprocessor() -> TiledPreprocessor:
    made = compose(KEYS).preprocessor
    assert isinstance(made, TiledPreprocessor)
    return made


def test_tiles_of_a_batch_are_those_of_its_images() -> None:
    preprocess = preprocessor()
    images = [Image.effect_noise(size, 60).convert("RGB") for size in SIZES]
    batch = preprocess(images)
    assert batch["image_sizes"].tolist() == [[height, width] for width, height in SIZES]
    assert batch["pixel_values"].dtype == torch.float32
    counts = [preprocess.reader.tiling.plan(*size).num_tiles for size in SIZES]
    alone = [preprocess([image])["pixel_values"] for image in images]
    assert [len(tiles) for tiles in alone] == counts
    assert torch.equal(batch["pixel_values"], torch.cat(alone))


def test_what_cannot_be_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    preprocess = preprocessor()
    tiling = preprocess.reader.tiling
    plan = tiling.plan
    monkeypatch.setattr(tiling, "plan", lambda *size: replace(plan(*size), rows=5, columns=5))
    with pytest.raises(ImageError, match=r"cut it into \d tiles, but 26 were planned"):
        preprocess([Image.new("RGB", (64, 64))])
    monkeypatch.setattr(preprocess_tiles, "MAX_PIXELS", 26 * 32 * 32 - 1)
    with pytest.raises(ImageError, match="would be cut into 26 tiles, too many for the limit of pixels"):
        preprocess([Image.new("RGB", (64, 64))])


def test_values_that_the_processor_that_cuts_does_not_take() -> None:
    encoder = compose(KEYS)
    settings = encoder.plan.processor
    broken = replace(settings, values={**settings.values, "size": "large"})
    with pytest.raises(WeightsError, match="not a usable image processor config"):
        cutting_processor(preprocessor().reader.tiling, broken)


def test_tiles_take_the_values_of_the_config() -> None:
    keys = KEYS | {"image_processor": {**KEYS["image_processor"], "mean": [0.0] * 3, "std": [1.0] * 3}}
    tiles = compose(keys).preprocess([Image.new("RGB", (64, 64), (255, 0, 51))])["pixel_values"].numpy()
    np.testing.assert_allclose(tiles.mean(axis=(0, 2, 3)), [1, 0, 0.2], atol=1e-6)


def test_a_thread_that_takes_the_arithmetic_away_changes_no_other() -> None:
    vision = {"model_type": "granite_docling_vision", "hidden_size": 32, "num_attention_heads": 4}
    encoder = compose(
        {
            "schema": 1,
            "encoder": vision | {"num_hidden_layers": 1, "intermediate_size": 48, "image_size": 32},
            "output": "tiles",
            "tiling": {"type": "granite_docling"},
        }
    )
    reader = encoder.preprocessor.reader
    assert isinstance(reader, TileReader)
    image = Image.new("RGB", (64, 64), "orange")
    split = reader.read
    expected = encoder.preprocess([image])["pixel_values"]
    assert reader.read is not split  # it makes floats whatever it is told

    def beside_another_thread(image: Image.Image) -> Any:
        arrays = split(image)
        reader.read = whole
        return arrays

    whole, reader.read = reader.read, beside_another_thread
    assert torch.equal(encoder.preprocess([image])["pixel_values"], expected)
