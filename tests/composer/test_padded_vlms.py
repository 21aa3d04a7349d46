"""Towers read from the checkpoints of tiny vision-language models that transformers saved: weights equal to
the last bit, features equal to what the model itself makes of its inputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from support import tiny
from support.compare import assert_close
from support.padded import SHAPES, Batch, Theirs, batch_of, patch_mask

from vision_composer import compose, load_config
from vision_composer.config_json import tower_from_transformers, tower_of_config_json

_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 64,
    "pad_token_id": 0,
}
_PERCEIVER = {"hidden_size": 32, "resampler_n_heads": 2, "resampler_head_dim": 16, "num_key_value_heads": 1}

# model_type -> class of the VLM, its text config, what its config needs beside them, and its tower.
VLMS: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "aria": (
        "AriaForConditionalGeneration",
        {"model_type": "aria_text", "moe_num_experts": 2, "moe_topk": 1},
        {},
        "idefics3_vision",
    ),
    "gemma4": (
        "Gemma4ForConditionalGeneration",
        {
            "model_type": "gemma4_text",
            "hidden_size_per_layer_input": 0,
            "vocab_size_per_layer_input": 64,
            "num_kv_shared_layers": 0,
            "layer_types": ["full_attention"],
        },
        {},
        "gemma4_vision/clipped",
    ),
    "idefics2": (
        "Idefics2ForConditionalGeneration",
        {"model_type": "mistral"},
        {"perceiver_config": _PERCEIVER},
        "idefics2_vision",
    ),
    "idefics3": ("Idefics3ForConditionalGeneration", {"model_type": "llama"}, {}, "idefics3_vision"),
    "lfm2_vl": (
        "Lfm2VlForConditionalGeneration",
        {"model_type": "lfm2", "layer_types": ["full_attention"]},
        {"projector_hidden_size": 32},
        "siglip2_vision_model/headless",
    ),
    "smolvlm": ("SmolVLMForConditionalGeneration", {"model_type": "llama"}, {}, "smolvlm_vision"),
}


def vlm_of(model_type: str) -> Any:
    class_name, text, more, tower = VLMS[model_type]
    vlm_class = getattr(transformers, class_name)
    text_config = transformers.AutoConfig.for_model(**{**_TEXT, **text})
    vision_config = transformers.AutoConfig.for_model(**tiny.PADDED[tower])
    if model_type == "idefics2":
        more = {"perceiver_config": transformers.AutoConfig.for_model("idefics2_perceiver", **_PERCEIVER)}
    torch.manual_seed(0)
    config = vlm_class.config_class(vision_config=vision_config, text_config=text_config, **more)
    return tiny.scramble(vlm_class(config))


def tower_of(vlm: Any) -> Any:
    return vlm.model.vision_tower if hasattr(vlm.model, "vision_tower") else vlm.model.vision_model


@pytest.mark.parametrize("model_type", VLMS)
def test_towers_of_vlms(model_type: str, tmp_path: Path) -> None:
    vlm, name = vlm_of(model_type), VLMS[model_type][3]
    vlm.save_pretrained(tmp_path)
    encoder = compose(tower_of_config_json(str(tmp_path)))
    assert encoder.config.encoder.model_type == tiny.PADDED[name]["model_type"]
    reference, ours = tower_of(vlm), encoder.model.state_dict()
    theirs = reference.state_dict()
    assert ours.keys() <= theirs.keys()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items())
    assert {key for key in theirs if key not in ours} == (
        {"post_layernorm.weight", "post_layernorm.bias"} if model_type == "aria" else set()
    )

    batch = batch_of(name, SHAPES[1])
    with torch.no_grad():
        got = encoder(**batch)
    assert_close(got, read_by(vlm, name, batch))


def read_by(vlm: Any, name: str, batch: Batch) -> list[torch.Tensor]:
    """What the VLM takes from its tower, by its own call of it, without the padding."""
    outputs: list[Any] = []
    inputs = dict(batch, pixel_values=batch["pixel_values"].nan_to_num(0.3))
    inputs.pop("num_soft_tokens_per_image", None)
    is_aria = type(vlm).__name__.startswith("Aria")
    if is_aria:
        inputs = {key: value[0] for key, value in inputs.items()}
        inputs["pixel_mask"] = inputs.pop("pixel_attention_mask")
    connector = vlm.model.multi_modal_projector if is_aria else getattr(vlm.model, "connector", None)
    hook = tower_of(vlm).register_forward_hook(lambda module, args, output: outputs.append(output))
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        if connector is not None:  # it takes only as many patches as the processor makes
            patch.setattr(connector, "forward", lambda states, **_: states)
        projected = vlm.model.get_image_features(**inputs).pooler_output
    hook.remove()
    states = projected if is_aria else outputs[0].last_hidden_state
    if name.startswith("gemma4"):
        return list(states.split(batch["num_soft_tokens_per_image"].tolist()))
    mask = batch["pixel_attention_mask"]
    valid = mask if name.startswith("siglip2") else patch_mask(name, mask[0])
    return [image[kept] for image, kept in zip(states, valid.flatten(1).bool(), strict=True)]


def test_a_siglip2_model_of_images_and_text(tmp_path: Path) -> None:
    vision = {key: v for key, v in tiny.PADDED["siglip2_vision_model"].items() if key != "model_type"}
    config = transformers.Siglip2Config(vision_config=vision, text_config={**_TEXT, "projection_size": 32})
    model = tiny.scramble(transformers.Siglip2Model(config))
    model.save_pretrained(tmp_path)
    fields = tower_of_config_json(str(tmp_path))
    batch = batch_of("siglip2_vision_model", SHAPES[1])
    truth = Theirs("siglip2_vision_model", batch, model.vision_model)
    with torch.no_grad():
        pooled = compose(fields | {"head": True})(**batch)
        features = compose(fields)(**batch)
    assert_close(torch.cat(pooled), truth.pooled)
    assert_close(features, truth.last)


@pytest.mark.parametrize("model_type", ["idefics2", "idefics3", "smolvlm"])
def test_a_vision_config_that_names_the_whole_model(model_type: str) -> None:
    vision = {"model_type": model_type, "image_size": 64, "hidden_size": 64, "num_attention_heads": 4}
    config = load_config(tower_from_transformers({"model_type": model_type, "vision_config": vision}))
    assert config.encoder.model_type == f"{model_type}_vision"
    assert config.encoder.image_size == 64


def test_aria_reads_the_last_hidden_state_without_its_norm() -> None:
    config = load_config(tower_from_transformers({"model_type": "aria", "vision_config": {}}))
    assert (config.select_layers, config.post_norm) == ((-1,), "none")
    assert config.encoder.model_type == "idefics3_vision"
