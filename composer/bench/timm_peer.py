"""timm's VisionTransformer with a tower's weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import InputError

if TYPE_CHECKING:
    from ..encoder import ComposedVisionEncoder
    from .measure import Inputs, Run

_PREFIX_TOKENS = {"clip_vision_model": 1, "siglip_vision_model": 0}
"""Encoders whose architecture timm's class has -> their tokens in front of the patches."""

_ACTIVATIONS = {"quick_gelu": "quick_gelu", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu"}

_NAMES = (
    ("embeddings.class_embedding", "cls_token"),
    ("embeddings.patch_embedding.", "patch_embed.proj."),
    ("embeddings.position_embedding.weight", "pos_embed"),
    ("pre_layrnorm.", "norm_pre."),
    ("post_layernorm.", "norm."),
    ("encoder.layers.", "blocks."),
    (".layer_norm", ".norm"),
    (".self_attn.out_proj.", ".attn.proj."),
)


def run_timm(tower: ComposedVisionEncoder, inputs: Inputs) -> Callable[[], Run]:
    """timm's ``forward_intermediates``, stopped at the last block that is needed, with fused projections.

    Raises:
        InputError: If timm's class lacks the encoder, its activation, or the features.
    """
    module = _vision_transformer(tower)
    blocks = [layer - 1 for layer in tower.plan.select_layers]
    prefix = _PREFIX_TOKENS[tower.info.model_type]
    pixels = inputs["pixel_values"].to(tower.device, tower.dtype)

    def run() -> Tensor:
        states = module.forward_intermediates(
            pixels,
            indices=sorted(set(blocks)),
            return_prefix_tokens=bool(prefix),
            stop_early=True,
            output_fmt="NLC",
            intermediates_only=True,
        )
        found = dict(zip(sorted(set(blocks)), states, strict=True))
        picked = []
        for block in blocks:
            state = torch.cat(found[block][::-1], dim=1) if prefix else found[block]
            picked.append(module.norm(state) if block + 1 in tower.plan.norm_layers else state)
        return torch.cat([tower.plan.readout.selection(state) for state in picked], dim=-1)

    return lambda: run


def _vision_transformer(tower: ComposedVisionEncoder) -> Any:
    encoder: Any = tower.config.encoder
    if encoder.model_type not in _PREFIX_TOKENS:
        raise InputError(f"timm is compared on {' and '.join(_PREFIX_TOKENS)}, not on {encoder.model_type}")
    if encoder.hidden_act not in _ACTIVATIONS:
        raise InputError(f"timm has no activation {encoder.hidden_act} to compare with")
    if tower.config.head or 0 in tower.plan.select_layers:
        raise InputError("timm is compared on hidden states that blocks return, not on the stem or the head")
    prefix = _PREFIX_TOKENS[encoder.model_type]
    module = import_module("timm.models.vision_transformer").VisionTransformer(
        img_size=encoder.image_size,
        patch_size=encoder.patch_size,
        in_chans=encoder.num_channels,
        num_classes=0,
        global_pool="",
        embed_dim=encoder.hidden_size,
        depth=tower.plan.num_blocks,
        num_heads=encoder.num_attention_heads,
        mlp_ratio=(encoder.intermediate_size + 0.5) / encoder.hidden_size,  # which timm rounds down
        class_token=bool(prefix),
        pre_norm=bool(prefix),
        final_norm=bool(tower.plan.norm_layers),
        norm_layer=partial(nn.LayerNorm, eps=encoder.layer_norm_eps),
        act_layer=_ACTIVATIONS[encoder.hidden_act],
        device=tower.device,
        dtype=tower.dtype,
    )
    module.load_state_dict(timm_weights(tower.model.state_dict()))
    return module.eval()


def timm_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A CLIP or SigLIP tower's weights by timm's names, queries, keys and values as one projection."""
    renamed = {}
    for name, weight in weights.items():
        for ours, theirs in _NAMES:
            name = name.replace(ours, theirs)
        renamed[name] = weight.view(1, -1, weight.shape[-1]) if name in ("cls_token", "pos_embed") else weight
    for name in [name for name in renamed if ".q_proj." in name]:
        parts = [renamed.pop(name.replace(".q_proj.", f".{part}_proj.")) for part in "qkv"]
        renamed[name.replace(".self_attn.q_proj.", ".attn.qkv.")] = torch.cat(parts)
    return renamed
