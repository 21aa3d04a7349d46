"""Flags of transformers' models that ask for nothing are allowed, and those that ask are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import tiny

from vision_composer import compose
from vision_composer.errors import InputError

ENCODER = tiny.ENCODERS["clip_vision_model"]
NOTHING: dict[str, Any] = {
    "output_hidden_states": False,
    "output_attentions": None,
    "interpolate_pos_encoding": False,
    "return_dict": True,
    "input_ids": None,
}


@pytest.mark.parametrize("keys", [{}, {"output": "tiles"}], ids=["tower", "half"])
def test_flags_that_ask_for_nothing(keys: dict[str, Any]) -> None:
    encoder = compose({"schema": 1, "encoder": ENCODER, **keys})
    pixels = tiny.pixels(ENCODER)
    for features, plain in zip(encoder(pixels, **NOTHING), encoder(pixels), strict=True):
        assert torch.equal(features, plain)


@pytest.mark.parametrize("name", ["output_hidden_states", "output_attentions", "interpolate_pos_encoding"])
def test_flags_that_ask_for_something(name: str) -> None:
    encoder = compose({"schema": 1, "encoder": ENCODER})
    with pytest.raises(InputError, match=f"^{name} asks for more"):
        encoder(tiny.pixels(ENCODER), **{name: True})


def test_other_inputs_are_still_refused() -> None:
    with pytest.raises(InputError, match="unexpected input output_hidden_state:"):
        compose({"schema": 1, "encoder": ENCODER})(tiny.pixels(ENCODER), output_hidden_state=False)
