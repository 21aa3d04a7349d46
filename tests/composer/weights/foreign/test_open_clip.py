"""open_clip's names: whole CLIP files, and towers that it takes from timm are tested with timm's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support import tiny
from support.foreign import DEPTH, ENCODER, HEADS, MLP, PATCH, SIDE, WIDTH, Kind, in_open_clips_layers

from vision_composer import compose

CLIP = {**ENCODER, "model_type": "clip_vision_model", "intermediate_size": MLP, "hidden_act": "gelu"}
KIND = Kind(pre_norm=True, eps=1e-5)


def in_open_clips_names(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    named = in_open_clips_layers(tensors)
    return {prefix + name: tensor for name, tensor in named.items()} | {
        f"{prefix}proj": torch.zeros(WIDTH, 16)
    }


@pytest.mark.parametrize("model_type", ["clip_vision_model", "metaclip_2_vision_model"])
@pytest.mark.parametrize("whole", [False, True])
def test_hidden_states_are_those_of_the_architecture(whole: bool, model_type: str, tmp_path: Path) -> None:
    tensors = KIND.tensors()
    on_disk = in_open_clips_names(tensors, "visual." if whole else "")
    if whole:  # the text tower has the same names, with nothing before them
        text = {name.removeprefix("visual."): tensor for name, tensor in on_disk.items() if "res" in name}
        on_disk |= {name: tensor + 1 for name, tensor in text.items()}
        on_disk |= {"positional_embedding": torch.zeros(8, WIDTH), "logit_scale": torch.zeros(())}
    save_file(on_disk, tmp_path / "open_clip_model.safetensors")
    states = KIND.hidden_states(tensors, tiny.pixels(CLIP))
    for layer, post_norm, theirs in ((-1, "last", states[-1]), (2, "none", states[2])):
        ours = features(tmp_path, select_layers=[layer], post_norm=post_norm, model_type=model_type)
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@torch.no_grad()
def features(source: Path, *, model_type: str = "clip_vision_model", **keys: Any) -> Any:
    config = {"schema": 1, "encoder": CLIP | {"model_type": model_type}, "weights": {"source": str(source)}}
    return compose(config | keys).double()(pixel_values=tiny.pixels(CLIP).double())


def test_features_are_open_clips_own(tmp_path: Path) -> None:
    model_of = pytest.importorskip(
        "open_clip.model", reason="open_clip is not needed to run, only to be compared with"
    )
    vision = {
        "image_size": SIDE,
        "patch_size": PATCH,
        "width": WIDTH,
        "layers": DEPTH,
        "head_width": WIDTH // HEADS,
        "mlp_ratio": MLP / WIDTH,
    }
    text = {"context_length": 8, "vocab_size": 16, "width": WIDTH, "heads": 2, "layers": 2}
    model = tiny.scramble(model_of.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text))
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    seen = []
    model.visual.ln_post.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        model.double().encode_image(tiny.pixels(CLIP).double())
    ours = features(tmp_path, select_layers=[-1], post_norm="none")
    if seen[0].dim() == 2:  # versions that norm the class token alone
        ours = ours[:, 0]
    torch.testing.assert_close(ours, seen[0], rtol=1e-12, atol=1e-12)
