"""Tokens at another grid, beside torch's own interpolation of each feature."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vision_composer.fusion.resampling import resampled, resampled_tokens


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize(("mode", "corners"), [("bilinear", False), ("bilinear", True), ("nearest", False)])
def test_tokens_stay_row_by_row(mode: str, corners: bool, frames: int) -> None:
    tokens = torch.randn(2, frames * 3 * 5, 4, dtype=torch.float64)
    got = resampled_tokens(tokens, (frames, 3, 5), (6, 4), mode, corners)
    options = {} if mode == "nearest" else {"align_corners": corners}
    for image in range(2):
        for frame, own in enumerate(tokens[image].view(frames, 3, 5, 4)):
            want = F.interpolate(own.permute(2, 0, 1)[None], (6, 4), mode=mode, **options)[0]
            mine = got[image].view(frames, 6, 4, 4)[frame].permute(2, 0, 1)
            torch.testing.assert_close(mine, want)


def test_the_same_size_is_the_same_tensor_and_the_dtype_stays() -> None:
    tokens = torch.randn(1, 15, 4)
    assert resampled_tokens(tokens, (1, 3, 5), (3, 5), "bilinear", True) is tokens
    assert resampled(torch.randn(1, 2, 3, 5).bfloat16(), (4, 4), "bilinear", False).dtype == torch.bfloat16
