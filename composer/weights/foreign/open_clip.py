"""open_clip's names, and those of OpenAI's own CLIP: whole CLIP files, whose tower is ``visual.``.

Towers that open_clip takes from timm are below ``visual.trunk.``, with timm's names.
"""

from __future__ import annotations

from typing import Any

from .recipe import Library, Table, clip_block, module, tensor

_STEM: Table = [
    *tensor("embeddings.class_embedding", "class_embedding"),
    *tensor("embeddings.position_embedding.weight", "positional_embedding"),
    *tensor("embeddings.patch_embedding.weight", "conv1.weight"),
    *module("pre_layrnorm", "ln_pre"),
    *module("post_layernorm", "ln_post"),
]
_BLOCK = clip_block(("ln_1", "ln_2"), ("attn.in_proj", "_"), "attn.out_proj", ("mlp.c_fc", "mlp.c_proj"))


def _clip(encoder: Any) -> tuple[Table, Table]:
    return _STEM, _BLOCK


OPEN_CLIP = Library(
    title="open_clip",
    marks=(("conv1.weight",), ("ln_pre.weight",), ("transformer.resblocks.0.ln_1.weight",)),
    block="transformer.resblocks.",
    tables={"clip_vision_model": _clip, "metaclip_2_vision_model": _clip},
    unused=("proj",),  # into the space of the texts
)
