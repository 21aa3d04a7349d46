"""What rank 0 sends of an image processor makes the same one elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support import rank_towers, tiny

from vision_composer.encoders import family_of
from vision_composer.images.settings import ProcessorSettings
from vision_composer.parallel.startup import _fingerprint
from vision_composer.presets import load_config
from vision_composer.schemas import ParallelConfig, encoder_config


def test_where_weights_lie_makes_a_difference_to_those_who_read_them() -> None:
    prints: dict[bool, set[str]] = {True: set(), False: set()}
    for tower, connector in (("a", "b"), ("a", "c"), ("d", "b")):
        weights = {"source": f"/{tower}/model.safetensors"}
        block = {
            "type": "llava",
            "hidden_size": 48,
            "weights": {"source": f"/{connector}/model.safetensors"},
        }
        config = load_config(rank_towers.keys(rank_towers.CLIP, weights=weights, connector=block))
        for sent in prints:
            prints[sent].add(_fingerprint(config, ParallelConfig(mode="data"), sent))
    assert {sent: len(values) for sent, values in prints.items()} == {True: 1, False: 3}


@pytest.mark.parametrize("name", rank_towers.NAMES)
def test_an_image_processor_survives_being_sent(name: str) -> None:
    encoder = encoder_config(rank_towers.ALL[name])
    family = family_of(encoder)
    settings = family.processor_settings(encoder)
    sent = ProcessorSettings.of_text(settings.to_text())
    assert sent == settings
    if encoder.num_channels in (1, 3):
        here, there = (family.preprocessor(encoder, made) for made in (settings, sent))
        image = np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)
        for key, tensor in here([image]).items():
            assert torch.equal(there([image])[key], tensor)


def test_a_checkpoints_own_values_survive_too(tmp_path: Path) -> None:
    encoder = encoder_config(tiny.ENCODERS["siglip_vision_model"])
    (tmp_path / "preprocessor_config.json").write_text(
        '{"size": {"height": 40, "width": 24}, "image_mean": [0.1, 0.2, 0.3], "resample": 2, '
        '"rescale_factor": 0.00392156862745098, "do_normalize": true, "do_center_crop": null}'
    )
    settings = family_of(encoder).processor_settings(encoder, folder=tmp_path)
    sent = ProcessorSettings.of_text(settings.to_text())
    assert sent == settings
    assert sent.values["image_mean"] == [0.1, 0.2, 0.3]
    assert sent.origin["image_mean"] == "preprocessor_config.json"
