"""A graph takes any number of images, or there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny import config

from vision_composer import compose, export_encoder
from vision_composer.encoders.clip import CLIP
from vision_composer.errors import ExportError


def test_a_tower_that_reads_sizes_of_the_host_is_refused(tmp_path: Path) -> None:
    encoder = compose(config("pixtral", select_layers=[0]))
    with pytest.raises(ExportError, match="its tower reads the sizes of the images while it runs"):
        export_encoder(encoder, tmp_path / "tower.pt2")
    assert list(tmp_path.iterdir()) == []


def test_no_batch_is_fixed_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = compose(config("clip_vision_model", select_layers=[0], post_norm="none"))
    stem = CLIP.stem

    def one_by_one(self: CLIP, model: Any, pixels: torch.Tensor) -> Any:
        return stem(self, model, torch.cat([pixels[i : i + 1] for i in range(pixels.shape[0])]))

    monkeypatch.setattr(CLIP, "stem", one_by_one)
    with pytest.raises(ExportError, match=r"torch.export cannot trace it: .*dynamic"):
        export_encoder(encoder, tmp_path / "tower.pt2")
    assert list(tmp_path.iterdir()) == []
