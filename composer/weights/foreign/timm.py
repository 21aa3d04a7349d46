"""timm's names: its own checkpoints, and towers in them: ``visual.trunk.`` of open_clip's, and
``vision_backbone.featurizer.`` and ``.fused_featurizer.`` of Prismatic's and OpenVLA's. Meta's own files of
DINOv2 are named so, too.

timm puts the class token's position into the class token where ``pos_embed`` has no row for it. Prismatic
calls the layer scale ``scale_factor``, because transformers once renamed tensors called ``gamma``.
"""

from __future__ import annotations

from typing import Any

from ...encoders.shapes import num_positions
from .recipe import (
    Library,
    Recipe,
    Table,
    clip_block,
    joined,
    module,
    positions,
    reshaped,
    split,
    tensor,
)

_QKV = ("attn.qkv", ".")
_NORMS = ("norm1", "norm2")
_MLP = ("mlp.fc1", "mlp.fc2")
_SCALES = {
    index: (f"ls{index}.gamma", f"ls{index}.scale_factor", f"gamma_{index}") for index in (1, 2)
}  # ViT's, Prismatic's, EVA's


def _scale(target: str, index: int) -> Table:
    return [recipe for source in _SCALES[index] for recipe in tensor(target, source)]


def _vit(encoder: Any) -> tuple[Table, Table]:
    patches, prefix, width = num_positions(encoder), encoder.num_prefix_tokens, encoder.hidden_size
    class_token = tensor("embeddings.cls_token", "cls_token") if prefix else []
    make = positions(patches, 1, -1, width) if prefix else reshaped(1, -1, width)
    stem = [
        *class_token,
        *tensor("embeddings.position_embeddings", "pos_embed", make),
        *module("embeddings.patch_embeddings.projection", "patch_embed.proj"),
        *module("layernorm", "norm"),
    ]
    block = [
        *module("layernorm_before", "norm1"),
        *split((f"attention.attention.{name}" for name in ("query", "key", "value")), "attn.qkv"),
        *module("attention.output.dense", "attn.proj"),
        *module("layernorm_after", "norm2"),
        *module("intermediate.dense", "mlp.fc1"),
        *module("output.dense", "mlp.fc2"),
    ]
    return stem, block


def _dinov2(encoder: Any) -> tuple[Table, Table]:
    stem, _ = _vit(encoder)
    if encoder.model_type == "dinov2_with_registers":
        stem += _registers(encoder)
    # The gated MLP's layers are called w12 and w3 by Meta.
    gated = (("weights_in", "fc1"), ("weights_in", "w12"), ("weights_out", "fc2"), ("weights_out", "w3"))
    layers = gated if encoder.use_swiglu_ffn else (("fc1", "fc1"), ("fc2", "fc2"))
    mlp = [each for target, source in layers for each in module(f"mlp.{target}", f"mlp.{source}")]
    block = [
        *module("norm1", "norm1"),
        *split((f"attention.attention.{name}" for name in ("query", "key", "value")), "attn.qkv"),
        *module("attention.output.dense", "attn.proj"),
        *_scale("layer_scale1.lambda1", 1),
        *module("norm2", "norm2"),
        *mlp,
        *_scale("layer_scale2.lambda1", 2),
    ]
    return stem, block


def _registers(encoder: Any) -> Table:
    target = "embeddings.register_tokens"
    if not encoder.num_register_tokens:
        return tensor(target, "cls_token", lambda token: token[:, :0])
    return [*tensor(target, "reg_token"), *tensor(target, "register_tokens")]


def _dinov3(encoder: Any) -> tuple[Table, Table]:
    stem = [
        *tensor("embeddings.cls_token", "cls_token"),
        *_registers(encoder),
        *module("embeddings.patch_embeddings", "patch_embed.proj"),
        *module("norm", "norm"),
    ]
    into = {"gate_proj": "fc1_g", "up_proj": "fc1_x"} if encoder.use_gated_mlp else {"up_proj": "fc1"}
    block = [
        *module("norm1", "norm1"),
        *split((f"attention.{name}_proj" for name in "qkv"), "attn.qkv"),
        *tensor("attention.q_proj.bias", "attn.q_bias"),
        *tensor("attention.v_proj.bias", "attn.v_bias"),
        *module("attention.o_proj", "attn.proj"),
        *_scale("layer_scale1.lambda1", 1),
        *module("norm2", "norm2"),
        *(recipe for target, source in into.items() for recipe in module(f"mlp.{target}", f"mlp.{source}")),
        *module("mlp.down_proj", "mlp.fc2"),
        *_scale("layer_scale2.lambda1", 2),
    ]
    return stem, block


def _clip(encoder: Any) -> tuple[Table, Table]:
    width = encoder.hidden_size
    stem = [
        *tensor("embeddings.class_embedding", "cls_token", reshaped(width)),
        *tensor(
            "embeddings.position_embedding.weight", "pos_embed", positions(num_positions(encoder), -1, width)
        ),
        *tensor("embeddings.patch_embedding.weight", "patch_embed.proj.weight"),
        *module("pre_layrnorm", "norm_pre"),
        *module("post_layernorm", "norm"),
    ]
    return stem, clip_block(_NORMS, _QKV, "attn.proj", _MLP)


def _siglip(encoder: Any) -> tuple[Table, Table]:
    pool = "attn_pool"
    query_key_value = {
        name: Recipe((f"{pool}.q.{name}", f"{pool}.kv.{name}"), joined) for name in ("weight", "bias")
    }
    stem = [
        *tensor("embeddings.position_embedding.weight", "pos_embed", reshaped(-1, encoder.hidden_size)),
        *module("embeddings.patch_embedding", "patch_embed.proj"),
        *module("post_layernorm", "norm"),
        *tensor("head.probe", f"{pool}.latent"),
        *((f"head.attention.in_proj_{name}", recipe) for name, recipe in query_key_value.items()),
        *module("head.attention.out_proj", f"{pool}.proj"),
        *module("head.layernorm", f"{pool}.norm"),
        *module("head.mlp.fc1", f"{pool}.mlp.fc1"),
        *module("head.mlp.fc2", f"{pool}.mlp.fc2"),
    ]
    return stem, clip_block(_NORMS, _QKV, "attn.proj", _MLP)


def _eva(encoder: Any) -> tuple[Table, Table]:
    """The EVA that BLIP-2 has; keys have no bias there, so that theirs is zero here."""
    width = encoder.hidden_size
    stem = [
        *tensor("embeddings.class_embedding", "cls_token"),
        *tensor(
            "embeddings.position_embedding", "pos_embed", positions(num_positions(encoder), 1, -1, width)
        ),
        *module("embeddings.patch_embedding", "patch_embed.proj"),
        *module("post_layernorm", "norm"),
    ]
    biases = Recipe(
        ("attn.q_bias", "attn.v_bias"), lambda query, value: joined(query, query.new_zeros(width), value)
    )
    block = [
        *module("layer_norm1", "norm1"),
        *module("self_attn.qkv", "attn.qkv"),
        ("self_attn.qkv.bias", biases),
        *module("self_attn.projection", "attn.proj"),
        *module("layer_norm2", "norm2"),
        *module("mlp.fc1", "mlp.fc1"),
        *module("mlp.fc2", "mlp.fc2"),
    ]
    return stem, block


TIMM = Library(
    title="timm",
    marks=(("patch_embed.proj.weight",), ("cls_token", "pos_embed"), ("blocks.0.norm1.weight",)),
    block="blocks.",
    tables={
        "vit": _vit,
        "ijepa": _vit,
        "dinov2": _dinov2,
        "dinov2_with_registers": _dinov2,
        "dinov3_vit": _dinov3,
        "clip_vision_model": _clip,
        "metaclip_2_vision_model": _clip,
        "siglip_vision_model": _siglip,
        "blip_2_vision_model": _eva,
    },
    # Classifiers, what is right before them, and what only pre-training uses.
    unused=("head.", "fc_norm.", "mask_token"),
)
