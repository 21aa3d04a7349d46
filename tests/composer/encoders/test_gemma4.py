"""Numbers of Gemma 4 that a small encoder's features do not reach."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from vision_composer.attention.segments import Segments
from vision_composer.encoders import FAMILIES
from vision_composer.encoders.gemma4 import Gemma4Layout


def test_pooled_tokens_may_leave_float16_before_they_are_standardised() -> None:
    width = 32
    model = SimpleNamespace(
        config=SimpleNamespace(standardize=True),
        std_bias=torch.full((width,), 60_000.0).half(),
        std_scale=torch.full((width,), 0.5).half(),
    )
    square = torch.arange(4)[None]
    layout = Gemma4Layout(
        ((1, 2, 2),),
        frames=Segments([4]),
        rope=(torch.zeros(4, 8), torch.zeros(4, 8)),
        places=torch.zeros(1, 4, 2),
        squares=square,
    )
    got = FAMILIES["gemma4_vision"].merged(model, torch.full((1, 4, width), 20_000.0).half(), layout)
    assert got.dtype == torch.float16
    torch.testing.assert_close(
        got.float(), torch.full((1, width), (20_000 * width**0.5 - 60_000) * 0.5), rtol=1e-3, atol=0
    )
