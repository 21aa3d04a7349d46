"""What rank 0 sends of an image processor makes the same one elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support import rank_towers, tiny

from vision_composer.encoders import family_of
from vision_composer.errors import WeightsError
from vision_composer.parallel.startup import _fingerprint, preprocessor_of
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
    here = family_of(encoder).preprocessor(encoder, None)
    there = preprocessor_of(encoder, here.processor.to_json_string())
    assert there.processor.to_dict() == here.processor.to_dict()
    if encoder.num_channels in (1, 3):
        image = np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)
        for key, tensor in here([image]).items():
            assert torch.equal(there([image])[key], tensor)


def test_a_checkpoints_own_values_survive_too(tmp_path: Path) -> None:
    encoder = encoder_config(tiny.ENCODERS["siglip_vision_model"])
    (tmp_path / "preprocessor_config.json").write_text(
        '{"size": {"height": 40, "width": 24}, "image_mean": [0.1, 0.2, 0.3], "resample": 2, '
        '"rescale_factor": 0.00392156862745098, "do_normalize": true}'
    )
    here = family_of(encoder).preprocessor(encoder, tmp_path)
    there = preprocessor_of(encoder, here.processor.to_json_string())
    assert there.processor.to_dict() == here.processor.to_dict()
    assert list(there.processor.image_mean) == [0.1, 0.2, 0.3]


def test_values_that_do_not_work_are_refused() -> None:
    encoder = encoder_config(tiny.ENCODERS["siglip_vision_model"])
    with pytest.raises(WeightsError, match="preprocessor_config"):
        preprocessor_of(encoder, '{"size": 5.5}')
