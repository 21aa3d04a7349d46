"""OpenGVLab's own names of InternViT: its InternVL files, whose tower is ``vision_model.``."""

from __future__ import annotations

from typing import Any

from .recipe import Library, Table, module, split, tensor


def _intern_vit(encoder: Any) -> tuple[Table, Table]:
    stem = [
        *tensor("embeddings.cls_token", "embeddings.class_embedding"),
        *tensor("embeddings.position_embeddings", "embeddings.position_embedding"),
        *module("embeddings.patch_embeddings.projection", "embeddings.patch_embedding"),
    ]
    block = [
        *tensor("lambda_1", "ls1"),
        *tensor("lambda_2", "ls2"),
        *module("layernorm_before", "norm1"),
        *module("layernorm_after", "norm2"),
        *split((f"attention.{name}_proj" for name in "qkv"), "attn.qkv"),
        *tensor("attention.q_norm.weight", "attn.q_norm.weight"),
        *tensor("attention.k_norm.weight", "attn.k_norm.weight"),
        *module("attention.projection_layer", "attn.proj"),
        *module("mlp.fc1", "mlp.fc1"),
        *module("mlp.fc2", "mlp.fc2"),
    ]
    return stem, block


OPENGVLAB = Library(
    title="OpenGVLab",
    marks=(("embeddings.patch_embedding.weight",), ("encoder.layers.0.attn.qkv.weight",)),
    block="encoder.layers.",
    tables={"internvl_vision": _intern_vit},
)
