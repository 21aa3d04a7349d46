"""timm's names, against a forward written out in plain torch and, where it is installed, timm's own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import tiny
from support.foreign import DEPTH, ENCODER, HEADS, MLP, PATCH, SIDE, WIDTH, Kind, renamed

from vision_composer import compose

MLP_WIDTH = {"intermediate_size": MLP}
GELU = MLP_WIDTH | {"hidden_act": "gelu"}
RATIO = {"mlp_ratio": 2}

KINDS: dict[str, tuple[dict[str, Any], Kind]] = {
    "vit": ({"model_type": "vit", **MLP_WIDTH, "layer_norm_eps": 1e-6}, Kind()),
    "vit, folded": ({"model_type": "vit", **MLP_WIDTH, "layer_norm_eps": 1e-6}, Kind(folded=True)),
    "ijepa": ({"model_type": "ijepa", **MLP_WIDTH, "layer_norm_eps": 1e-6}, Kind(class_token=False)),
    "clip": ({"model_type": "clip_vision_model", **GELU}, Kind(pre_norm=True, eps=1e-5)),
    "metaclip 2": ({"model_type": "metaclip_2_vision_model", **GELU}, Kind(pre_norm=True, eps=1e-5)),
    "siglip": ({"model_type": "siglip_vision_model", **GELU}, Kind(class_token=False, pool=True)),
    "eva": ({"model_type": "blip_2_vision_model", **MLP_WIDTH}, Kind(biases="separate")),
    "eva, joint": ({"model_type": "blip_2_vision_model", **MLP_WIDTH}, Kind()),
}


def composed(encoder: dict[str, Any], source: Path, **keys: Any) -> Any:
    fields = ENCODER | encoder
    return compose({"schema": 1, "encoder": fields, "weights": {"source": str(source)}, **keys}).double()


def pixels() -> torch.Tensor:
    return tiny.pixels({"image_size": SIDE}).double()


@torch.no_grad()
def features(encoder: dict[str, Any], source: Path, **keys: Any) -> Any:
    return composed(encoder, source, **keys)(pixel_values=pixels())


def same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("prefix", ["", "visual.trunk."])
def test_hidden_states_are_those_of_the_architecture(name: str, prefix: str, tmp_path: Path) -> None:
    encoder, kind = KINDS[name]
    tensors = kind.tensors()
    file = tmp_path / "model.safetensors"
    save_file({prefix + name: tensor for name, tensor in tensors.items()}, file)
    states = kind.hidden_states(tensors, pixels())
    layers = [*range(DEPTH + 1)]
    ours = features(encoder, file, select_layers=layers, post_norm="none")
    same(ours, torch.cat(states[: DEPTH + 1], -1))
    same(features(encoder, file, select_layers=[-1], post_norm="last"), states[DEPTH + 1])
    if kind.pool:
        same(features(encoder, file, head=True), states[-1])


@pytest.mark.parametrize(
    ("model_type", "registers", "folded"),
    [("dinov2", 0, False), ("dinov2_with_registers", 4, True)],
)
@pytest.mark.parametrize("scale", ["ls{}.gamma", "ls{}.scale_factor"])
def test_dinov2(model_type: str, registers: int, folded: bool, scale: str, tmp_path: Path) -> None:
    kind = Kind(registers=registers, folded=folded, scale=scale)
    # The family's MLP is a whole number of times as wide as its tokens.
    tensors = {
        name: torch.cat([tensor, tensor[: 2 * WIDTH - MLP]])
        if name.endswith(("fc1.weight", "fc1.bias"))
        else torch.cat([tensor, tensor[:, : 2 * WIDTH - MLP]], 1)
        if name.endswith("fc2.weight")
        else tensor
        for name, tensor in kind.tensors().items()
    }
    save_file(tensors, tmp_path / "model.safetensors")
    states = kind.hidden_states(tensors, pixels())
    encoder = {"model_type": model_type, **RATIO}
    if registers:
        encoder["num_register_tokens"] = registers
    same(features(encoder, tmp_path), states[-1])
    same(features(encoder, tmp_path, select_layers=[1], post_norm="none"), states[1])
    metas = renamed(tensors, ("^reg_token$", "register_tokens")) | {"mask_token": torch.zeros(1, WIDTH)}
    save_file(metas, tmp_path / "model.safetensors")
    same(features(encoder, tmp_path), states[-1])


def in_timms_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of transformers' DINOv2 and DINOv3."""
    named = renamed(
        tensors,
        (r"^encoder\.layer\.|^model\.layer\.|^layer\.", "blocks."),
        (r"^embeddings\.(?=cls_token)", ""),
        (r"^embeddings\.register_tokens", "reg_token"),
        (r"^embeddings\.position_embeddings", "pos_embed"),
        (r"^embeddings\.patch_embeddings\.(projection\.)?", "patch_embed.proj."),
        (r"^layernorm\.", "norm."),
        (r"layer_scale([12])\.lambda1", r"gamma_\1"),
        (r"attention\.attention\.(query|key|value)\.", lambda found: f"attn.{found[1][0]}."),
        (r"attention\.([qkv])_proj\.", r"attn.\1."),
        (r"attention\.(output\.dense|o_proj)\.", "attn.proj."),
        (r"mlp\.weights_in\.", "mlp.fc1."),
        (r"mlp\.(weights_out|down_proj)\.", "mlp.fc2."),
        (r"mlp\.gate_proj\.", "mlp.fc1_g."),
        (r"mlp\.up_proj\.", "mlp.fc1_x." if any("gate_proj" in name for name in tensors) else "mlp.fc1."),
    )
    for name in [name for name in named if name.endswith("attn.q.weight")]:
        at = name.removesuffix("q.weight")
        named[f"{at}qkv.weight"] = torch.cat([named.pop(f"{at}{part}.weight") for part in "qkv"])
        biases = {part: named.pop(f"{at}{part}.bias", None) for part in "qkv"}
        if biases["k"] is not None:
            named[f"{at}qkv.bias"] = torch.cat([bias for bias in biases.values() if bias is not None])
        elif biases["q"] is not None and biases["v"] is not None:
            named |= {f"{at}q_bias": biases["q"], f"{at}v_bias": biases["v"]}
    return {
        name: tensor.contiguous()
        for name, tensor in named.items()
        if tensor.numel() and "mask_token" not in name
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"model_type": "dinov3_vit", "intermediate_size": MLP, "num_register_tokens": 4},
        {"model_type": "dinov3_vit", "intermediate_size": MLP, "use_gated_mlp": True, "hidden_act": "silu"},
        {"model_type": "dinov3_vit", "intermediate_size": MLP, "query_bias": False, "value_bias": False},
        {"model_type": "dinov2", "mlp_ratio": 3, "use_swiglu_ffn": True},
        {"model_type": "dinov2", "mlp_ratio": 3, "qkv_bias": False},
        {"model_type": "dinov2_with_registers", "mlp_ratio": 3, "num_register_tokens": 0},
    ],
    ids=[
        "dinov3",
        "dinov3, gated",
        "dinov3, unbiased",
        "dinov2, gated",
        "dinov2, unbiased",
        "dinov2, no registers",
    ],
)
def test_every_tensor_lands_where_it_was(fields: dict[str, Any], tmp_path: Path) -> None:
    encoder = ENCODER | fields
    whole = tiny.save(tiny.reference(encoder), tmp_path / "whole")
    tensors = composed(encoder, whole).float().model.state_dict()
    file = tmp_path / "timm.safetensors"
    save_file(in_timms_names(load_file(whole / "model.safetensors")), file)
    loaded = composed(encoder, file).float().model.state_dict()
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(loaded[name], tensor), name


def _timm(kind: str) -> Any:
    """A model of timm's own, of the sizes of ``ENCODER``."""
    pytest.importorskip("timm", reason="timm is not needed to run, only to be compared with")
    from timm.layers import LayerNorm
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    sizes = {
        "img_size": SIDE,
        "patch_size": PATCH,
        "embed_dim": WIDTH,
        "depth": DEPTH,
        "num_heads": HEADS,
        "mlp_ratio": MLP / WIDTH,
        "num_classes": 5,
    }
    norm = {"norm_layer": partial(LayerNorm, eps=1e-5)}
    rope = {"use_rot_pos_emb": True, "use_abs_pos_emb": False, "rope_rotate_half": True}
    made: dict[str, Any] = {
        "vit": lambda: VisionTransformer(**sizes),
        "vit, folded": lambda: VisionTransformer(**sizes, no_embed_class=True),
        "clip": lambda: VisionTransformer(**sizes, pre_norm=True, **norm),
        "siglip": lambda: VisionTransformer(**sizes, class_token=False, global_pool="map"),
        "eva": lambda: Eva(**sizes, global_pool="token"),
        "dinov2": lambda: VisionTransformer(**sizes | {"mlp_ratio": 2}, init_values=1e-5),
        "dinov2, registers": lambda: VisionTransformer(
            **sizes | {"mlp_ratio": 2}, init_values=1e-5, reg_tokens=4, no_embed_class=True
        ),
        "dinov3": lambda: Eva(
            **sizes, **norm, **rope, global_pool="token", init_values=1e-5, rope_type="dinov3",
            rope_temperature=100, num_reg_tokens=4,
        ),
    }  # fmt: skip
    return tiny.scramble(made[kind]())


@pytest.mark.parametrize(
    ("kind", "encoder"),
    [
        *((name, KINDS[name][0]) for name in ("vit", "vit, folded", "clip", "siglip", "eva")),
        ("dinov2", {"model_type": "dinov2", **RATIO}),
        ("dinov2, registers", {"model_type": "dinov2_with_registers", **RATIO}),
        ("dinov3", {"model_type": "dinov3_vit", "num_register_tokens": 4, **MLP_WIDTH}),
    ],
)
def test_features_are_timms_own(kind: str, encoder: dict[str, Any], tmp_path: Path) -> None:
    model = _timm(kind)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    with torch.no_grad():
        theirs = model.double().forward_features(pixels())
    # timm rotates by angles of float32.
    tolerance = 1e-7 if kind == "dinov3" else 1e-12
    ours = features(encoder, tmp_path, select_layers=[-1], post_norm="last")
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
