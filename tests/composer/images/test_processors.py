"""What a processor is given, and what of a checkpoint's values."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from PIL import Image
from support.processors import dense, resolved
from transformers import CLIPImageProcessorPil


def test_null_is_a_value_as_in_transformers(tmp_path: Path) -> None:
    values = {"do_normalize": None, "do_center_crop": None, "crop_size": None}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    image = Image.linear_gradient("L").resize((70, 50)).convert("RGB")
    theirs = CLIPImageProcessorPil.from_pretrained(tmp_path)(image, return_tensors="pt")["pixel_values"]
    ours = dense(resolved("CLIPImageProcessor", tmp_path))([image])["pixel_values"]
    assert ours.shape == (1, 3, 224, 313)
    assert torch.equal(ours, theirs)
