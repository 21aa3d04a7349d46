"""What towers are timed beside, on the same weights: themselves compiled, and transformers' classes."""

from __future__ import annotations

import copy

from torch import nn

from vision_composer import ComposedVisionEncoder
from vision_composer.bench.peers import TransformersTower
from vision_composer.running.compilation import compile_tower
from vision_composer.schemas import CompileConfig

from .packages import version
from .towers import compile_keys, quickly_built

OURS = "ours"


def with_peers(tower: ComposedVisionEncoder) -> dict[str, nn.Module]:
    """The tower first; flash-attn where it is installed."""
    twin = copy.deepcopy(tower, {id(t): t for t in (*tower.parameters(), *tower.buffers())})
    compile_tower(twin.tower, CompileConfig.model_validate(compile_keys(tower.device, "default")))
    runners = {OURS: tower, f"{OURS}, compiled": twin, "transformers sdpa": transformers_tower(tower)}
    if version("flash-attn"):
        runners["transformers fa2"] = flash = transformers_tower(tower)
        flash.model.set_attn_implementation("flash_attention_2")
    return runners


def transformers_tower(tower: ComposedVisionEncoder) -> TransformersTower:
    return quickly_built(tower.device, lambda: TransformersTower(tower))
