"""Features that are not finite are found, and the images whose they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vision_composer import ComposedVisionEncoder, compose
from vision_composer.errors import ImageError
from vision_composer.jobs import encode_images, read_features
from vision_composer.running.finite import not_finite

CONFIG: dict[str, Any] = {
    "schema": 1,
    "encoder": {
        "model_type": "clip_vision_model",
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "image_size": 32,
        "patch_size": 8,
    },
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_the_images_whose_features_are_not_finite(dtype: torch.dtype, wrong: float) -> None:
    features = torch.randn(5, 3, 4, dtype=dtype)
    assert not_finite(features) == []
    features[1, 2, 3] = wrong
    features[4, 0, 0] = -wrong
    assert not_finite(features) == [1, 4]
    assert not_finite([features[0], features[1, :2], features[4]]) == [2]
    assert not_finite([]) == []


def test_large_features_are_finite() -> None:
    for dtype in (torch.float32, torch.float16):
        assert not_finite(torch.full((2, 3, 4), torch.finfo(dtype).max, dtype=dtype)) == []


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> ComposedVisionEncoder:
    """An encoder for which images 61 pixels wide come out of the image processor as NaN."""
    encoder = compose(CONFIG)
    arrays = encoder.preprocessor.reader.arrays

    def poisoned(image: Image.Image) -> Any:
        made = arrays(image)
        if image.width == 61:
            made["pixel_values"] = np.full(made["pixel_values"].shape, np.nan, dtype=np.float32)
        return made

    monkeypatch.setattr(encoder.preprocessor.reader, "arrays", poisoned)
    return encoder


def test_encode_names_the_image(encoder: ComposedVisionEncoder, tmp_path: Path) -> None:
    sound, wrong = Image.new("RGB", (60, 40), "red"), Image.new("RGB", (61, 40), "red")
    assert len(encoder.encode([sound] * 3)) == 3
    with pytest.raises(ImageError, match=r"^image 4: its features are NaN or infinite"):
        encoder.encode([sound, sound, sound, sound, wrong], batch_size=3)
    wrong.save(tmp_path / "wrong.png")
    with pytest.raises(ImageError, match=r"wrong\.png: its features"):
        encoder.encode([sound, tmp_path / "wrong.png"])


def test_a_job_fails_that_image_alone(encoder: ComposedVisionEncoder, tmp_path: Path) -> None:
    for i, width in enumerate((60, 61, 62)):
        Image.new("RGB", (width, 40), "red").save(tmp_path / f"{i}.png")
    summary = encode_images(encoder, [tmp_path], tmp_path / "f.parquet")
    assert (summary.num_images, summary.num_failed) == (2, 1)
    assert [Path(name).name for name, _ in read_features(tmp_path / "f.parquet")] == ["0.png", "2.png"]
    failed = json.loads((tmp_path / "f.failed.jsonl").read_text())
    assert Path(failed["image"]).name == "1.png"
    assert "NaN or infinite" in failed["reason"]


def test_weights_that_overflow_in_float16_fail_the_image() -> None:
    encoder = compose(CONFIG, dtype=torch.float16)
    with torch.no_grad():
        encoder.model.get_parameter(
            next(name for name, _ in encoder.model.named_parameters() if "fc2.weight" in name)
        ).fill_(60_000)
    with pytest.raises(ImageError, match=r"^image 0: .*overflow"):
        encoder.encode([Image.linear_gradient("L")])
