"""Phi-4-multimodal, which is no model for images and text alone: its rows beside transformers' own model."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image
from support.compare import assert_close
from support.tiny import scramble

from vision_composer import compose, plan
from vision_composer.config_json import tower_from_transformers, tower_of_config_json
from vision_composer.errors import ConfigError, InputError
from vision_composer.testing.vlm import ROWS_BOUND, random_images

AUDIO = {"hidden_size": 16, "intermediate_size": 16, "num_blocks": 1, "num_attention_heads": 2}
AUDIO |= {"ext_pw_out_channel": 16, "depthwise_separable_out_channel": 16, "nemo_conv_channels": 16}
TEXT = {"hidden_size": 40, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
TEXT |= {"num_key_value_heads": 2, "vocab_size": 64, "pad_token_id": 0}
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
SIZES = ((64, 64), (37, 211), (150, 40), (97, 103), (31, 20))


def saved(folder: Path, side: int, **vision: Any) -> Any:
    """Save a tiny model and its image processor; its attention is the eager one, which sees all patches."""
    torch.manual_seed(0)
    config = transformers.Phi4MultimodalConfig(
        **TEXT,
        vision_config=VISION
        | {"image_size": side, "crop_size": side, "patch_size": 8, "image_token_id": 60}
        | vision,
        audio_config=AUDIO | {"audio_token_id": 61},
    )
    config._attn_implementation = "eager"
    model = scramble(transformers.Phi4MultimodalForCausalLM(config))
    model.save_pretrained(folder)
    processor = {"image_processor_type": "Phi4MultimodalImageProcessor", "patch_size": 8, "dynamic_hd": 7}
    processor["size"] = {"height": side, "width": side}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return model


def expected(model: Any, inputs: dict[str, torch.Tensor], canvas: tuple[int, int], rows: int) -> torch.Tensor:
    """What the model puts into the places of one image's tokens."""
    ids = torch.full((1, rows), 60)
    embed = model.model.embed_tokens_extend.image_embed
    with torch.no_grad():
        found = embed(
            ids,
            torch.zeros(1, rows, 40),
            image_pixel_values=inputs["pixel_values"][None],
            image_sizes=torch.tensor([[canvas[1], canvas[0]]]),
            image_attention_mask=inputs["patch_attention_mask"][None].float(),
        )
    return found[0]


@pytest.mark.parametrize(
    ("side", "vision"), [(32, {}), (40, {"feature_layer": -1, "hidden_act": "gelu"})], ids=["even", "odd"]
)
def test_a_composed_half_makes_what_the_model_reads(
    side: int, vision: Any, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    model = saved(tmp_path, side, **vision)
    config = tower_of_config_json(str(tmp_path))
    assert config["select_layers"] == [vision.get("feature_layer", -2)]
    assert not recwarn.list
    encoder = compose(config, overrides=["output=embeds"])
    images = random_images(SIZES)
    together = encoder.encode(images)
    for image, beside in zip(images, together, strict=True):
        inputs = encoder.preprocess([image])
        sizes = inputs.pop("image_sizes")
        canvas = encoder.plan.tiling.plan(*image.size).canvas
        assert sizes.tolist() == [[*image.size[::-1]]]
        theirs = expected(model, inputs, canvas, encoder.num_tokens(*image.size))
        for rows in (encoder.encode([image])[0], beside):
            assert rows.shape == theirs.shape
            assert (rows - theirs).abs().max() <= ROWS_BOUND * theirs.abs().max()


def test_as_many_rows_come_as_were_planned(tmp_path: Path) -> None:
    saved(tmp_path, 40)
    config = tower_of_config_json(str(tmp_path))
    planned, encoder = plan(config, overrides=["output=embeds"]), compose(config, overrides=["output=embeds"])
    sizes = random.Random(0)
    for _ in range(100):
        size = sizes.randint(8, 240), sizes.randint(8, 240)
        try:
            rows = planned.num_tokens(*size)
        except InputError:
            continue
        assert len(encoder.encode(Image.new("RGB", size, "orange"))[0]) == rows, size


def test_patches_see_later_ones_without_padding() -> None:
    """transformers' own class hides them with sdpa where no patch is padding."""
    keys = {"schema": 1, "encoder": {"model_type": "phi4_multimodal_vision", **VISION, "image_size": 32}}
    encoder = compose({**keys, "encoder": {**keys["encoder"], "patch_size": 8}})
    pixels = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    moved = pixels.clone()
    moved[..., -8:, -8:] += 1
    with torch.no_grad():
        alone, changed = (encoder(pixel_values=each) for each in (pixels, moved))
        masked = encoder(pixel_values=pixels, patch_attention_mask=torch.ones(1, 4, 4, dtype=torch.bool))
    assert (alone - changed)[0, 0].abs().max() > 0
    assert_close(masked, alone)


def test_tiles_of_another_size_than_the_towers_are_refused() -> None:
    vision = VISION | {"image_size": 32, "crop_size": 40}
    with pytest.raises(ConfigError, match="crop_size: 40 is not image_size 32"):
        tower_from_transformers({"model_type": "phi4_multimodal", "vision_config": vision})
