"""Towers read out of real VLM checkpoints: a tiny VLM, made and saved by transformers, and its own tower."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import transformers

from vision_composer import compose
from vision_composer.encoders import encoder_from_transformers
from vision_composer.transformers_config import tower_of_config_json

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


# encoder of tests/tiny.py -> the VLM around it, the path of its tower, and the tower's output there.
VLMS: dict[str, tuple[Callable[[dict[str, Any]], Any], str, Callable[[Any], torch.Tensor]]] = {
    "blip_2_vision_model": (_blip_2, "vision_model", lambda output: output.last_hidden_state),
    "got_ocr2_vision": (
        _got_ocr2,
        "model.vision_tower",
        lambda output: output.last_hidden_state.flatten(2).transpose(1, 2),
    ),
    "llama4_vision_model": (_llama4, "vision_model", lambda output: output.last_hidden_state),
}

each_vlm = pytest.mark.parametrize("name", VLMS)


def saved(name: str, folder: Path) -> Any:
    """The VLM's own tower, of which a checkpoint lies in ``folder``."""
    build, path, _ = VLMS[name]
    torch.manual_seed(0)
    vlm = tiny.scramble(build(tiny.ENCODERS[name]))
    vlm.save_pretrained(folder)
    return vlm.get_submodule(path)


@each_vlm
def test_the_tower_of_a_vlm_is_found_and_returns_what_the_vlm_reads(name: str, tmp_path: Path) -> None:
    tower = saved(name, tmp_path)
    pixel_values = tiny.pixels(tiny.ENCODERS[name])
    encoder = compose({"schema": 1, "encoder": tiny.ENCODERS[name], "weights": {"source": str(tmp_path)}})
    with torch.no_grad():
        assert torch.equal(encoder(pixel_values=pixel_values), VLMS[name][2](tower(pixel_values)))


@each_vlm
def test_its_config_json_means_the_same_tower(name: str, tmp_path: Path) -> None:
    tower = saved(name, tmp_path)
    encoder = compose(tower_of_config_json(str(tmp_path)))
    assert encoder.config.encoder == encoder_from_transformers(tower.config)
    with torch.no_grad():
        pixel_values = tiny.pixels(tiny.ENCODERS[name])
        assert torch.equal(encoder(pixel_values=pixel_values), VLMS[name][2](tower(pixel_values)))
