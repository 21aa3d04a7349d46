"""OpenGVLab's names of InternViT: joint projections, layer scales, and norms of queries and keys."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support import tiny
from support.foreign import ENCODER, MLP, WIDTH, Kind, renamed

from vision_composer import compose

KIND = Kind(scale="ls{}")
INTERN = {**ENCODER, "model_type": "internvl_vision", "intermediate_size": MLP, "attention_bias": True}


def in_opengvlabs_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    named = renamed(
        {name: tensor for name, tensor in tensors.items() if not name.startswith("norm.")},
        (r"^blocks\.", "encoder.layers."),
        ("^cls_token$", "embeddings.class_embedding"),
        ("^pos_embed$", "embeddings.position_embedding"),
        (r"^patch_embed\.proj", "embeddings.patch_embedding"),
    )
    return {f"vision_model.{name}": tensor for name, tensor in named.items()}


def test_hidden_states_are_those_of_the_architecture(tmp_path: Path) -> None:
    tensors = KIND.tensors()
    language = {"language_model.model.layers.0.self_attn.q_proj.weight": torch.zeros(2, 2)}
    save_file(in_opengvlabs_names(tensors) | language, tmp_path / "model.safetensors")
    config = {"schema": 1, "encoder": INTERN, "weights": {"source": str(tmp_path)}}
    states = KIND.hidden_states(tensors, tiny.pixels(INTERN))
    with torch.no_grad():
        for layer, theirs in ((-1, states[-2]), (1, states[1])):
            ours = compose({**config, "select_layers": [layer], "post_norm": "none"}).double()
            features = ours(pixel_values=tiny.pixels(INTERN).double())
            torch.testing.assert_close(features, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("which", ["q", "k"])
def test_norms_of_queries_and_keys(which: str, tmp_path: Path) -> None:
    tensors = in_opengvlabs_names(KIND.tensors())
    for block in range(3):
        for name in "qk":
            value = torch.full((WIDTH,), 2.0 if name == which else 1.0)
            tensors[f"vision_model.encoder.layers.{block}.attn.{name}_norm.weight"] = value
    save_file(tensors, tmp_path / "model.safetensors")
    encoder = INTERN | {"use_qk_norm": True}
    model = compose({"schema": 1, "encoder": encoder, "weights": {"source": str(tmp_path)}}).model
    attention = model.encoder.layer[1].attention
    assert attention.get_submodule(f"{which}_norm").weight.unique().tolist() == [2.0]
