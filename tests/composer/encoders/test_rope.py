"""Cosines and sines of places against those of the angles themselves, to the bit."""

from __future__ import annotations

import pytest
import torch

from vision_composer.attention.sending import Parcel
from vision_composer.encoders.rope import Rope, on_halves, rope_frequencies, side_by_side


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float64], ids=str)
def test_a_feature_turns_along_its_axis(dtype: torch.dtype | None) -> None:
    rows, columns = rope_frequencies(40, 10000.0), rope_frequencies(24, 50.0)
    places = torch.randint(0, 91, (513, 2), dtype=torch.int32)
    rope = Rope(on_halves(rows, columns), [(1, 90, 7), (3, 2, 2)], Parcel("cpu"))
    angles = torch.cat([places[:, :1] * rows, places[:, 1:] * columns] * 2, dim=1)
    cosines, sines = rope.at(places, dtype)
    assert torch.equal(cosines, angles.cos().to(dtype or torch.float32))
    assert torch.equal(sines, angles.sin().to(dtype or torch.float32))


def test_frequencies_stand_side_by_side() -> None:
    head = side_by_side(torch.tensor([1.0, 2.0]), torch.tensor([3.0]))
    assert head.tolist() == [[1, 2, 0], [0, 0, 3]]
