"""Presets of VLMs against the VLMs: what transformers' model feeds its projector is what our tower returns,
read from the VLM's own checkpoint. Widths are tiny; depth, layers, strategy and norm are the preset's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from support import tiny

from vision_composer import compose, load_config
from vision_composer.config_json import tower_of_config_json
from vision_composer.errors import WeightsError

_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 64,
}
_TINY_ENCODER = {
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}

# preset -> class of the VLM, its text config, and what its config needs beside the towers.
VLMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llava-1.5-7b": ("LlavaForConditionalGeneration", "llama", {}),
    "vip-llava-7b": ("VipLlavaForConditionalGeneration", "llama", {}),
    "llava-next-vicuna-7b": (
        "LlavaNextForConditionalGeneration",
        "llama",
        {"image_grid_pinpoints": [[32, 32]]},
    ),
    "granite-vision-3.2-2b": (
        "LlavaNextForConditionalGeneration",
        "granite",
        {"image_grid_pinpoints": [[32, 32]]},
    ),
    "llava-onevision-qwen2-0.5b": (
        "LlavaOnevisionForConditionalGeneration",
        "qwen2",
        {"image_grid_pinpoints": [[32, 32]]},
    ),
    "paligemma-3b-224": ("PaliGemmaForConditionalGeneration", "gemma", {}),
    "gemma-3-4b": ("Gemma3ForConditionalGeneration", "gemma3_text", {"mm_tokens_per_image": 4}),
    "aya-vision-8b": ("AyaVisionForConditionalGeneration", "cohere2", {}),
    "internvl3-1b": ("InternVLForConditionalGeneration", "qwen2", {}),
}
_ANYRES = {"LlavaNextForConditionalGeneration", "LlavaOnevisionForConditionalGeneration"}


def vlm_of(preset: str) -> tuple[Any, dict[str, Any]]:
    """The VLM in tiny form, and the encoder block of its tower."""
    config = load_config(preset)
    class_name, text_type, extra = VLMS[preset]
    encoder = config.encoder.model_dump() | _TINY_ENCODER
    # The VLM's own defaults for these are the truth that the preset is held against, where it has them.
    text = transformers.AutoConfig.for_model(text_type, **_TEXT)
    vlm_class = getattr(transformers, class_name)
    selection = {
        "vision_feature_layer": list(config.select_layers) if len(config.select_layers or ()) > 1 else None,
    }
    if preset.startswith("granite"):
        selection["vision_feature_select_strategy"] = "full"
    vision = transformers.AutoConfig.for_model(**encoder)
    given = {key: value for key, value in selection.items() if value is not None}
    torch.manual_seed(0)
    vlm = vlm_class(vlm_class.config_class(vision_config=vision, text_config=text, **given, **extra))
    return tiny.scramble(vlm), encoder


def projector_input(vlm: Any, pixel_values: torch.Tensor) -> torch.Tensor:
    """What the VLM's get_image_features hands to its projector."""
    seen: list[torch.Tensor] = []
    hook = vlm.model.multi_modal_projector.register_forward_pre_hook(
        lambda module, args: seen.append(args[0])
    )
    arguments = {"pixel_values": pixel_values}
    if type(vlm).__name__ in _ANYRES:
        # The overview and one tile for each image.
        arguments["pixel_values"] = torch.stack([pixel_values, pixel_values.flip(-1)], dim=1)
        arguments["image_sizes"] = torch.tensor([[32, 32]] * len(pixel_values))
    with torch.no_grad():
        vlm.model.get_image_features(**arguments)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("preset", VLMS)
def test_tower_returns_what_the_vlm_projects(preset: str, tmp_path: Path) -> None:
    vlm, encoder = vlm_of(preset)
    vlm.save_pretrained(tmp_path)
    pixel_values = tiny.pixels(encoder, images=2)
    want = projector_input(vlm, pixel_values)
    fields = [f"encoder.{key}={value}" for key, value in _TINY_ENCODER.items()]
    tower = compose(preset, overrides=[*fields, f"weights.source={tmp_path}"], dtype=torch.float32)

    batch = pixel_values
    if type(vlm).__name__ in _ANYRES:
        batch = torch.stack([pixel_values, pixel_values.flip(-1)], dim=1).flatten(0, 1)
    with torch.no_grad():
        got = tower(pixel_values=batch)
        if preset.startswith("internvl"):
            side = int(got.shape[1] ** 0.5)
            got = vlm.model.pixel_shuffle(got.unflatten(1, (side, side)), scale_factor=0.5).flatten(1, 2)
    assert torch.equal(got, want)


def test_vlm_folder_of_another_family_is_refused(tmp_path: Path) -> None:
    vlm, _ = vlm_of("llava-1.5-7b")
    vlm.save_pretrained(tmp_path)
    siglip = dict(tiny.ENCODERS["siglip_vision_model"])
    siglip["num_hidden_layers"] = 24
    with pytest.raises(
        WeightsError, match=r"tensor vision_tower\.embeddings\.patch_embedding\.bias is missing"
    ):
        compose({"schema": 1, "encoder": siglip, "weights": {"source": str(tmp_path)}})


@pytest.mark.parametrize("preset", VLMS)
def test_config_json_says_what_the_preset_says(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny, "scramble", lambda model: model)
    with torch.device("meta"):  # only its config is of interest
        vlm, _ = vlm_of(preset)
    vlm.config.save_pretrained(tmp_path)
    config, wanted = load_config(tower_of_config_json(str(tmp_path))), load_config(preset)
    assert config.select_layers == wanted.select_layers
    assert config.feature_select_strategy == wanted.feature_select_strategy
    assert config.post_norm == wanted.post_norm
    vision = transformers.AutoConfig.for_model(**config.encoder.model_dump(exclude_unset=True))
    ours, theirs = vision.to_dict(), vlm.config.vision_config.to_dict()
    theirs.pop(
        "projection_dim" if "projection_dim" not in ours else "", None
    )  # the projector's, in PaliGemma
    assert ours == theirs
