"""The embedded encoder: its files are what they say, and its features are worth what the demo shows."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from support.compare import assert_close
from transformers import SiglipVisionConfig, SiglipVisionModel

from vision_composer.composing import compose
from vision_composer.demo.digits import PARTS, SPLIT, as_images, load_pixels
from vision_composer.demo.probe import ProbeResult, linear_probe
from vision_composer.presets import load_config

WEIGHTS = resources.files("vision_composer.presets") / "tiny" / "digits.safetensors"


def _reference() -> SiglipVisionModel:
    """transformers' own class with the shipped tensors, every name required."""
    fields = load_config("tiny-digits").encoder.model_dump(exclude={"model_type"})
    model = SiglipVisionModel(SiglipVisionConfig(**fields)).eval()
    with resources.as_file(WEIGHTS) as path:
        model.load_state_dict(load_file(path), strict=True)
    return model


def _probe_last_state(*overrides: str) -> ProbeResult:
    pixels, labels = load_pixels()
    encoder = compose("tiny-digits", overrides=["select_layers=[-1]", *overrides])
    features = torch.stack(encoder.encode(as_images(pixels), batch_size=256)).mean(dim=1).numpy()
    return linear_probe(features, labels, PARTS["probe_train"], PARTS["probe_test"])


def test_file_is_small_and_says_where_it_comes_from() -> None:
    with resources.as_file(WEIGHTS) as path:
        assert path.stat().st_size < 1.5e6
        with safe_open(path, framework="np") as file:
            metadata = file.metadata()
    assert metadata["license"] == "Apache-2.0"
    assert SPLIT in metadata["data"]
    rows = PARTS["encoder"]
    assert f"rows {rows.start} to {rows.stop - 1}" in metadata["data"]


def test_licence_ships_beside_the_weights() -> None:
    text = (resources.files("vision_composer.presets") / "tiny" / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License, Version 2.0" in text
    assert "CC BY 4.0" in text


@pytest.mark.parametrize("head", [False, True])
def test_output_is_that_of_transformers_on_the_same_tensors(head: bool) -> None:
    pixels, _ = load_pixels()
    encoder = compose("tiny-digits", overrides=[f"head={str(head).lower()}"])
    batch = encoder.preprocess(as_images(pixels[:20]))
    with torch.no_grad():
        reference = _reference()(**batch)
        output = encoder(**batch)
    expected = reference.pooler_output[:, None] if head else reference.last_hidden_state
    assert_close(output, expected)


def test_features_beat_pixels_and_random_weights_on_held_out_digits() -> None:
    pixels, labels = load_pixels()
    trained = _probe_last_state()
    raw = linear_probe(
        np.reshape(pixels, (len(pixels), -1)), labels, PARTS["probe_train"], PARTS["probe_test"]
    )
    assert trained.total == raw.total == 510
    assert trained.accuracy > 0.93
    assert trained.accuracy > raw.accuracy + 2 * raw.standard_error
    torch.manual_seed(0)
    untrained = _probe_last_state("weights.source=null")
    assert trained.accuracy > untrained.accuracy + 0.1
