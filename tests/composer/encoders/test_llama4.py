"""Adapters of Llama 4 that cannot run are refused before anything is built."""

from __future__ import annotations

from typing import Any

import pytest
from support import tiny

from vision_composer import plan
from vision_composer.errors import ConfigError

ENCODER = tiny.ENCODERS["llama4_vision_model"]


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"image_size": 40}, "pixel_shuffle_ratio"),  # five patches a side, of which no two by two are left
        ({"pixel_shuffle_ratio": 1 / 3}, "pixel_shuffle_ratio"),
        ({"intermediate_size": 64}, "intermediate_size"),
        ({"projector_input_dim": 40}, "projector_input_dim"),
    ],
)
def test_an_adapter_that_cannot_run(fields: dict[str, Any], key: str) -> None:
    config = {"schema": 1, "encoder": ENCODER | fields}
    with pytest.raises(ConfigError) as caught:
        plan(config)
    assert f"encoder.{key}" in [problem.path for problem in caught.value.problems]
    plan(config | {"select_layers": [-1]})  # selected hidden states do without it
