"""Whole VLMs: from images to what the language model reads, beside transformers' own model."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from PIL import Image
from support.vlms import VLMS, save_vlm
from support.vlms.reasons import EQUAL_IN, WHY_NOT
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from vision_composer import compose, load_config, plan
from vision_composer.config_json import tower_of_config_json
from vision_composer.errors import ImageError, InputError
from vision_composer.testing.vlm import check_vlm

ALWAYS = {"idefics3", "llava_next", "mistral3", "qwen2_5_vl"}
"""One of every kind: masked tiles, tiles that are put together, a connector of packed images, a merger."""
EACH = [
    pytest.param(name, marks=() if name in ALWAYS else pytest.mark.slow, id=name) for name in sorted(VLMS)
]
NUM_SIZES = 200


def test_every_vlm_of_transformers_is_compared_or_explained() -> None:
    """A model_type that transformers adds wants a tiny VLM, or a line in support/vlms/reasons.py."""
    compared = {name.partition("/")[0] for name in VLMS}
    assert set(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES) - compared - WHY_NOT.keys() == set()
    assert compared & WHY_NOT.keys() == set()
    assert EQUAL_IN.keys() <= compared


@pytest.mark.parametrize("name", EACH)
def test_a_vlm_reads_what_its_composed_half_makes(name: str, tmp_path: Path) -> None:
    check_vlm(save_vlm(name, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(VLMS))
def test_as_many_rows_come_as_were_planned(name: str, tmp_path: Path) -> None:
    config = load_config(tower_of_config_json(str(save_vlm(name, tmp_path))), overrides=["output=embeds"])
    sizes = random.Random(name)
    planned = plan(config)
    encoder = compose(config)
    assert encoder.plan.to_dict() == planned.to_dict()
    for _ in range(NUM_SIZES):
        size = sizes.randint(8, 240), sizes.randint(8, 240)
        image = Image.new("RGB", size, "orange")
        try:
            rows = planned.num_tokens(*size)
        except InputError:
            with pytest.raises((ImageError, InputError)):
                encoder.encode(image)
        else:
            assert len(encoder.encode(image)[0]) == rows, size
