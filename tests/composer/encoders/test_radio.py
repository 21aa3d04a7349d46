"""RADIO's checkpoints, which may leave out what published models do not have, and its own normalisation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from support import tiny

from vision_composer import compose
from vision_composer.errors import WeightsError

RADIO = tiny.ENCODERS["radio"]
PIXELS = tiny.pixels(RADIO)


def checkpoint(folder: Path, *, without: str = "", changed: dict[str, torch.Tensor] | None = None) -> Path:
    """A checkpoint of the tiny encoder, less the tensors with ``without`` in their names."""
    tiny.save(tiny.reference(RADIO), folder)
    file = folder / "model.safetensors"
    tensors = {name: tensor for name, tensor in load_file(file).items() if not without or without not in name}
    save_file(tensors | (changed or {}), file, metadata={"format": "pt"})
    return folder


def tower(folder: Path, **encoder: Any) -> Any:
    return compose({"schema": 1, "encoder": RADIO | encoder, "weights": {"source": str(folder)}})


@pytest.mark.parametrize("without", ["layer_scale", "input_conditioner", "summary_idxs"])
def test_what_a_checkpoint_may_leave_out(without: str, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, without=without)
    theirs = transformers.RadioModel.from_pretrained(folder).eval()
    with torch.no_grad():
        assert torch.equal(tower(folder)(pixel_values=PIXELS), theirs(PIXELS).last_hidden_state)


@pytest.mark.parametrize(
    "without", ["blocks.2.layer_scale1", "norm_std", "blocks.1.attn.qkv.weight", "pos_embed"]
)
def test_what_it_may_not(without: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"tensor radio_model.*{without}.* is missing"):
        tower(checkpoint(tmp_path, without=without))


def test_the_checkpoint_says_how_pixels_are_normalised(tmp_path: Path) -> None:
    mean = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    folder = checkpoint(tmp_path, changed={"radio_model.input_conditioner.norm_mean": mean})
    theirs = transformers.RadioModel.from_pretrained(folder).eval()
    with torch.no_grad():
        assert torch.equal(tower(folder)(pixel_values=PIXELS), theirs(PIXELS).last_hidden_state)


def test_images_are_normalised_once(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    transformers.CLIPImageProcessorPil(
        size={"height": 32, "width": 32}, do_center_crop=False
    ).save_pretrained(folder)
    image = np.full((40, 50, 3), 51, dtype=np.uint8)
    pixels = tower(folder).preprocess([image])["pixel_values"]
    torch.testing.assert_close(pixels, torch.full((1, 3, 32, 32), 0.2))


def test_gated_mlp(tmp_path: Path) -> None:
    encoder = RADIO | {"use_swiglu_ffn": True, "mlp_ratio": 3.3}
    theirs = tiny.reference(encoder)
    ours = tower(tiny.save(theirs, tmp_path), use_swiglu_ffn=True, mlp_ratio=3.3)
    with torch.no_grad():
        assert torch.equal(ours(pixel_values=PIXELS), theirs(PIXELS).last_hidden_state)
    saved = load_file(tmp_path / "model.safetensors")
    if not any("weights_in" in name for name in saved):  # as older releases of transformers name it
        shapes = {name: tuple(tensor.shape) for name, tensor in saved.items()}
        assert ours.plan.shapes.items() <= shapes.items()
    assert ours.plan.num_parameters == sum(parameter.numel() for parameter in ours.parameters())
