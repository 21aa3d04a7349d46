"""What is written of an encoder that has a family here, held against that family, written by hand."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from vision_composer.encoders import FAMILIES, register_encoder
from vision_composer.errors import ConformanceError
from vision_composer.scaffold.classes import classes_of
from vision_composer.scaffold.family_code import family_module
from vision_composer.scaffold.files import todos
from vision_composer.scaffold.reading import read_encoder
from vision_composer.schemas import ENCODER_PLUGINS, encoder_config
from vision_composer.testing import check_encoder

SIZES = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "image_size": 60,
    "patch_size": 12,
}
FACTS = ("num_prefix_tokens", "has_class_token", "has_post_norm", "has_head", "any_size")


def written(model_type: str, called: str, folder: Path) -> tuple[str, Any]:
    """Write the module of an encoder; return its text and its two classes."""
    text = family_module(read_encoder(classes_of(model_type)), "written.py", called)
    file = folder / f"written_{called.replace('-', '_')}.py"
    file.write_text(text)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # where pydantic looks for what annotations name
    spec.loader.exec_module(module)
    return text, module.ENCODER


@pytest.mark.parametrize(
    "model_type",
    [
        "vit",
        "siglip_vision_model",
        "dinov2_with_registers",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in (
                "clip_vision_model",
                "dinov2",
                "dinov3_vit",
                "internvl_vision",
                "ijepa",
            )
        ),
    ],
)
def test_it_says_what_the_family_here_says(model_type: str, tmp_path: Path) -> None:
    _, (block, family) = written(model_type, f"my_{model_type}", tmp_path)
    sizes = {name: size for name, size in SIZES.items() if name in block.model_fields}
    theirs = encoder_config({"model_type": model_type, **sizes})
    ours = block.model_validate({"model_type": f"my_{model_type}", **sizes})
    expected, info = FAMILIES[model_type], family().info(ours)
    assert {name: getattr(info, name) for name in FACTS} == {
        name: getattr(expected.info(theirs), name) for name in FACTS
    }
    parts = {"post_norm": theirs.has_post_norm, "head": theirs.has_head}
    assert family().shapes(ours, 2, **parts) == expected.shapes(theirs, 2, **parts)
    named = {"blocks": True, "post_norm": theirs.has_post_norm, "head": theirs.has_head}
    for name in (name for name, there in named.items() if there):
        assert getattr(family, name) == getattr(expected, name), name
    if theirs.has_post_norm:
        assert family.norms_last_hidden_state == expected.norms_last_hidden_state
    shared = block.model_fields.keys() & type(theirs).model_fields.keys() - {"model_type"}
    assert len(shared) > 8
    for name in shared:
        assert block.model_fields[name].default == type(theirs).model_fields[name].default, name


def test_a_flag_that_takes_tensors_away_is_asked(tmp_path: Path) -> None:
    _, (block, family) = written("vit", "my_flagged_vit", tmp_path)
    encoder = block.model_validate({"model_type": "my_flagged_vit", "qkv_bias": False})
    shapes = family().block_shapes(encoder)
    assert "attention.attention.query.weight" in shapes
    assert "attention.attention.query.bias" not in shapes


def test_a_flag_that_brings_tensors_is_left_to_do(tmp_path: Path) -> None:
    text, _ = written("dinov2", "my_gated_dinov2", tmp_path)
    left = [sentence for _, sentence in todos(text)]
    assert any(sentence.startswith("if encoder.use_swiglu_ffn, the encoder also has") for sentence in left)


def test_where_nothing_is_left_the_check_passes(tmp_path: Path) -> None:
    text, (block, family) = written("deit", "deit", tmp_path)
    assert todos(text) == []
    register_encoder(block, family)
    try:
        check_encoder("deit")
    finally:
        ENCODER_PLUGINS.unregister("deit")


def test_a_stem_that_no_modules_make_is_left_to_do_and_the_check_says_so(tmp_path: Path) -> None:
    text, (block, family) = written("phi4_multimodal_vision", "my_phi4", tmp_path)
    register_encoder(block, family)
    try:
        with pytest.raises(ConformanceError) as raised:
            check_encoder("my_phi4")
    finally:
        ENCODER_PLUGINS.unregister("my_phi4")
    message = str(raised.value)
    assert "TODO: written.py, Phi4MultimodalVisionFamily.stem: compute hidden_states" in message
    assert "a tensor (2, 36, 96)" in message
    (number, sentence) = todos(text)[-1]
    assert sentence in message
    assert "TODO" in text.splitlines()[number - 1]


def test_where_that_one_place_is_filled_in_the_check_passes(tmp_path: Path) -> None:
    _, (block, family) = written("phi4_multimodal_vision", "my_phi4", tmp_path)

    class Filled(family):  # type: ignore[misc]  # a class that was just written
        def stem(self, model: Any, pixel_values: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
            grid = [side // model.config.patch_size for side in pixel_values.shape[2:]]
            mask = torch.ones(len(pixel_values), *grid, dtype=torch.bool, device=pixel_values.device)
            states = model.embeddings(pixel_values=pixel_values, patch_attention_mask=mask)
            return states, {"attention_mask": None}

    register_encoder(block, Filled)
    try:
        check_encoder("my_phi4")
    finally:
        ENCODER_PLUGINS.unregister("my_phi4")
