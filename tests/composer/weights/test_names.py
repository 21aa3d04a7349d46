"""Names of tensors in checkpoints: what may stand before them, and what transformers makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny
from support.checkpoints import features, load, rewrite

from vision_composer import compose
from vision_composer.errors import WeightsError


@pytest.mark.parametrize(
    "prefix",
    ["", "vision_model.", "vision_tower.", "model.vision_tower.vision_tower.vision_model.", "visual."],
)
def test_prefixes_are_found(folder: Path, prefix: str) -> None:
    want = features(load(folder))
    rewrite(folder, lambda tensors: {f"{prefix}{name}": tensor for name, tensor in tensors.items()})
    assert torch.equal(features(load(folder)), want)


def test_two_towers_need_a_prefix(folder: Path) -> None:
    want = features(load(folder))
    rewrite(
        folder,
        lambda tensors: (
            {f"image_tower.{name}": tensor for name, tensor in tensors.items()}
            | {f"video_tower.{name}": tensor + 1 for name, tensor in tensors.items()}
        ),
    )
    with pytest.raises(WeightsError, match=r"image_tower\.', 'video_tower\.'.*weights\.prefix"):
        load(folder)
    assert torch.equal(features(load(folder, weights={"prefix": "image_tower"})), want)
    with pytest.raises(WeightsError, match="no tensor audio_tower"):
        load(folder, weights={"prefix": "audio_tower"})


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: torch.cat([t, t[:1]]), lambda t: t.T, torch.flatten]
)
def test_a_tensor_that_is_split_on_loading_is_checked_too(tmp_path: Path, change: Any) -> None:
    encoder = tiny.ENCODERS["dinov2/swiglu"]
    folder = tiny.save(tiny.reference(encoder), tmp_path)
    name = "encoder.layer.0.mlp.weights_in.weight"
    rewrite(folder, lambda tensors: tensors | {name: change(tensors[name]).contiguous()})
    with pytest.raises(WeightsError, match=rf"tensor {name} has shape"):
        compose({"schema": 1, "encoder": encoder, "weights": {"source": str(folder)}})


def test_missing_tensors_have_the_checkpoints_names(tmp_path: Path) -> None:
    encoder = tiny.ENCODERS["dinov2"]
    folder = tiny.save(tiny.reference(encoder), tmp_path)
    name = "encoder.layer.0.attention.attention.key.weight"
    rewrite(folder, lambda tensors: {key: value for key, value in tensors.items() if key != name})
    with pytest.raises(WeightsError, match=rf"tensor {name} is missing"):
        compose({"schema": 1, "encoder": encoder, "weights": {"source": str(folder)}})
