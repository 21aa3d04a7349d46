"""What a tower keeps of the batches that it ran."""

from __future__ import annotations

import pytest
import torch
from support import tiny

from vision_composer import compose
from vision_composer.tower import module

PIXTRAL = {"schema": 1, "encoder": tiny.PACKED["pixtral"]}


def test_a_cast_tower_makes_its_layouts_anew() -> None:
    encoder = tiny.scramble(compose(PIXTRAL))
    batch = {"pixel_values": torch.randn(1, 3, 24, 40)}
    with torch.no_grad():
        encoder(**batch)
        encoder.to(torch.bfloat16)
        got = encoder(**batch)
        encoder.tower._layouts.clear()
        assert torch.equal(got[0], encoder(**batch)[0])


def test_layouts_that_were_used_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LAYOUTS", 2)
    encoder = compose(PIXTRAL)
    with torch.no_grad():
        for columns in (1, 2, 1, 3):
            encoder(pixel_values=torch.zeros(1, 3, 8, 8 * columns))
    assert [grids for grids, *_ in encoder.tower._layouts] == [((1, 1, 1),), ((1, 1, 3),)]
