"""Towers read out of real VLM checkpoints: a tiny VLM, made and saved by transformers, and its own tower."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from support import tiny

from vision_composer import compose
from vision_composer.config_json import tower_of_config_json
from vision_composer.encoders import encoder_from_transformers

_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 64,
}


def _blip_2(vision: dict[str, Any]) -> Any:
    qformer = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    text = {"model_type": "opt", "hidden_size": 32, "ffn_dim": 32, "num_hidden_layers": 1, "vocab_size": 64}
    return transformers.Blip2ForConditionalGeneration(
        transformers.Blip2Config(
            vision_config=vision,
            qformer_config=qformer | {"encoder_hidden_size": vision["hidden_size"]},
            text_config=text | {"num_attention_heads": 2, "word_embed_proj_dim": 32},
        )
    )


def _got_ocr2(vision: dict[str, Any]) -> Any:
    text = _TEXT | {"model_type": "qwen2"}
    return transformers.GotOcr2ForConditionalGeneration(
        transformers.GotOcr2Config(vision_config=vision, text_config=text, image_token_index=63)
    )


def _llama4(vision: dict[str, Any]) -> Any:
    text = _TEXT | {"intermediate_size_mlp": 32, "num_local_experts": 1, "pad_token_id": 0}
    return transformers.Llama4ForConditionalGeneration(
        transformers.Llama4Config(
            vision_config=vision | {"vision_output_dim": vision["projector_output_dim"]}, text_config=text
        )
    )


def _nemotron(vision: dict[str, Any]) -> Any:
    module = pytest.importorskip(
        "transformers.models.nemotron_h_omni.modeling_nemotron_h_omni", reason="newer than transformers 5.17"
    )
    text = _TEXT | {"model_type": "nemotron_h", "layers_block_type": ["attention"], "mamba_num_heads": 2}
    config = module.NemotronH_Omni_Reasoning_V3_Config(
        vision_config=vision | {"video_temporal_patch_size": 2},
        text_config=text,
        vision_hidden_size=vision["hidden_size"],
        projector_hidden_size=32,
    )
    return module.NemotronH_Omni_Reasoning_V3(config)


def _features(tower: Any, pixel_values: torch.Tensor) -> torch.Tensor:
    """RADIO's, inside a VLM: the VLM's image processor normalises, and the tower does not."""
    mean, std = (
        torch.tensor(values).view(3, 1, 1) for values in (tower.config.norm_mean, tower.config.norm_std)
    )
    return tower((pixel_values - mean) / std).features


# encoder of tests/tiny.py -> the VLM around it, the path of its tower, and what the VLM reads of that.
VLMS: dict[str, tuple[Callable[[dict[str, Any]], Any], str, Callable[[Any, torch.Tensor], torch.Tensor]]] = {
    "blip_2_vision_model": (_blip_2, "vision_model", tiny.own_output),
    "got_ocr2_vision": (_got_ocr2, "model.vision_tower", tiny.own_output),
    "llama4_vision_model": (_llama4, "vision_model", tiny.own_output),
    "radio": (_nemotron, "vision_model", _features),
}


@pytest.mark.parametrize("name", VLMS)
def test_a_vlms_folder_gives_the_tower_that_the_vlm_reads(name: str, tmp_path: Path) -> None:
    build, path, read = VLMS[name]
    torch.manual_seed(0)
    vlm = tiny.scramble(build(tiny.ENCODERS[name]))
    vlm.save_pretrained(tmp_path)
    tower = vlm.get_submodule(path)
    encoder = compose(tower_of_config_json(str(tmp_path)))
    assert encoder.config.encoder == encoder_from_transformers(tower.config)
    pixel_values = tiny.pixels(tiny.ENCODERS[name])
    with torch.no_grad():
        assert torch.equal(encoder(pixel_values=pixel_values), read(tower, pixel_values))
