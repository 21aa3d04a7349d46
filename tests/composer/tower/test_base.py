"""What turns a batch into features: where its parameters are, and what it must say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from vision_composer.tower.base import VisionModule

MUST_SAY = ("read", "rows_of_batch", "rows_per_image", "join", "blank", "grid_of_image")


@pytest.mark.parametrize("left_out", MUST_SAY)
def test_a_vision_module_must_say_how_it_reads_and_counts(left_out: str) -> None:
    said = dict.fromkeys(name for name in MUST_SAY if name != left_out)
    with pytest.raises(TypeError, match=left_out):
        type("Part", (VisionModule,), said)()


def test_it_is_where_its_parameters_are() -> None:
    whole: Any = type("Whole", (VisionModule,), dict.fromkeys(MUST_SAY))()
    whole.layer = nn.Linear(2, 2, device="meta", dtype=torch.float16)
    assert (whole.device, whole.dtype) == (torch.device("meta"), torch.float16)
    whole.double()
    assert whole.dtype == torch.float64
