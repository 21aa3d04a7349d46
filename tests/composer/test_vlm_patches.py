"""VLMs that take images and clips as patches: what their language models read of the same tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from support.vlms import VLMS, save_vlm

from vision_composer import compose
from vision_composer.config_json import tower_of_config_json
from vision_composer.testing.vlm import embeddings, random_images

pytestmark = pytest.mark.slow
FRAMES = 4
SIZE = (97, 64)
TAKE_CLIPS = {
    "cosmos3_edge",
    "cosmos3_omni",
    "ernie4_5_vl_moe",
    "exaone4_5",
    "glm46v",
    "glm4v",
    "glm4v_moe",
    "glm_ocr",
    "glmga",
    "hyperclovax_vision_v2",
    "kimi_k25",
    "minimax_m3_vl",
    "qwen2_5_omni_thinker",
    "qwen2_5_vl",
    "qwen2_vl",
    "qwen3_5",
    "qwen3_5_moe",
    "qwen3_omni_moe_thinker",
    "qwen3_vl",
    "qwen3_vl_moe",
    "qwen4_exp",
}
"""model_type of the VLMs that run clips through the tower of their images."""


def both(name: str, folder: Path) -> tuple[Any, Any]:
    """A VLM, and its vision half."""
    save_vlm(name, folder)
    encoder = compose(tower_of_config_json(str(folder)), overrides=["output=embeds"]).eval()
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    return encoder, model.eval()


def check(encoder: Any, model: Any, inputs: dict[str, torch.Tensor], planned: int) -> None:
    with torch.no_grad():
        (rows,) = encoder(**inputs)
    assert len(rows) == planned
    expected = embeddings(model, inputs, planned)
    torch.testing.assert_close(rows, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", [name for name in sorted(VLMS) if name.partition("/")[0] in TAKE_CLIPS])
def test_a_vlm_reads_of_a_clip_what_its_composed_half_makes(name: str, tmp_path: Path) -> None:
    encoder, model = both(name, tmp_path)
    frames = encoder.preprocess(random_images([SIZE] * FRAMES))
    inputs = {
        "pixel_values_videos": frames["pixel_values"],
        "video_grid_thw": frames["image_grid_thw"][:1] * torch.tensor([FRAMES, 1, 1]),
    }
    count = FRAMES * encoder.info.temporal_patch_size
    check(encoder, model, inputs, encoder.num_tokens(*SIZE, frames=count))
