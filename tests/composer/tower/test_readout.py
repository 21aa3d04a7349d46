"""What a readout says before a tower runs is what the tower returns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image
from support import tiny

from vision_composer import compose, plan
from vision_composer.errors import InputError
from vision_composer.tower.readout import Selection


@pytest.mark.parametrize(
    "selector",
    [
        lambda features: features.mean(1),
        lambda features: features[..., 1:],
        lambda features: features[1:],
        lambda features: features[..., None],
        lambda features: features.repeat(1, 2, 1),
    ],
)
def test_a_selector_keeps_images_and_width(selector: Any) -> None:
    with pytest.raises(InputError, match="only takes tokens away"):
        Selection(selector, 1, 0, 8)(torch.zeros(2, 5, 8))
    assert Selection(lambda features: features[:, 2:], 1, 0, 8)(torch.zeros(2, 5, 8)).shape == (2, 3, 8)
    assert Selection(lambda features: features.flip(1), 1, 0, 8)(torch.zeros(2, 5, 8)).shape == (2, 5, 8)


@pytest.mark.parametrize("strategy", ["class", "default", "full"])
@pytest.mark.parametrize("layers", [None, [-2]], ids=str)
def test_tokens_of_every_tile_are_counted(strategy: str, layers: list[int] | None) -> None:
    encoder = compose(
        {
            "schema": 1,
            "encoder": tiny.TILED["mllama_vision_model"],
            "select_layers": layers,
            "feature_select_strategy": strategy,
        }
    )
    for size in ((16, 16), (40, 16), (60, 60)):
        assert len(encoder.encode(Image.new("RGB", size))[0]) == encoder.num_tokens(*size)


@pytest.mark.parametrize("deepstack", ["concat", "separate", "none"])
def test_the_width_is_that_of_a_token(deepstack: str) -> None:
    encoder = compose({"schema": 1, "encoder": tiny.PACKED["qwen3_vl_vision"], "deepstack": deepstack})
    images = [Image.new("RGB", (64, 64)), Image.new("RGB", (64, 96))]
    for features in encoder(**encoder.preprocess(images)):
        assert features.shape[-1] == encoder.output_width
        assert features.is_contiguous()


def test_levels_are_named_from_the_shallowest() -> None:
    planned = plan({"schema": 1, "encoder": tiny.PACKED["qwen3_vl_vision/unsorted"]})
    assert planned.deepstack_layers == (2, 4)
