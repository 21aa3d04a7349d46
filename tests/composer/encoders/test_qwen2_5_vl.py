"""Operations inside Qwen2.5-VL's windows, against the windows themselves."""

from __future__ import annotations

import pytest
from support import tiny

from vision_composer import plan
from vision_composer.attention.sending import Parcel
from vision_composer.encoders.places import WindowedPatches


@pytest.mark.parametrize("name", ["qwen2_5_vl_vision", "qwen2_5_vl_vision/windows"])
def test_windows_at_the_edge_count_as_what_they_hold(name: str) -> None:
    planned = plan({"schema": 1, "encoder": tiny.PACKED[name]})
    info, encoder = planned.info, tiny.PACKED[name]
    window = encoder["window_size"] // info.merge_size // info.patch_size
    wide = len(encoder["fullatt_block_indexes"])
    for width, height in ((56, 64), (64, 72), (56, 104), (88, 160), (200, 72)):
        grid = info.grid(width, height)
        lengths = WindowedPatches([grid], Parcel("cpu"), merge_size=info.merge_size, window=window).lengths
        pairs = wide * (grid[1] * grid[2]) ** 2 + (4 - wide) * sum(length**2 for length in lengths)
        assert planned.attention_flops((width, height)) == 4 * pairs * info.hidden_size
