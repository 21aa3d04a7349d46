"""What towers are timed beside, on the same weights: themselves in other modes, and transformers' classes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from torch import nn

from vision_composer import ComposedVisionEncoder
from vision_composer.bench.peers import TransformersTower
from vision_composer.errors import BackendError
from vision_composer.running.compilation import compile_tower
from vision_composer.schemas import CompileConfig

from .packages import version
from .towers import compile_keys, quickly_built

OURS = "ours"


def with_peers(tower: ComposedVisionEncoder, budgets: Sequence[int]) -> dict[str, nn.Module]:
    """The tower first; recorded for ``budgets`` patches if it can be; flash-attn where it is installed."""
    runners: dict[str, nn.Module] = {OURS: tower, f"{OURS}, compiled": compiled(tower)}
    with suppress(BackendError):
        runners[f"{OURS}, recorded"] = compiled(tower, token_budgets=list(budgets))
    if tower.family.has_fixed_shapes(tower.info):
        runners[f"{OURS}, reduce-overhead"] = compiled(tower, mode="reduce-overhead")
    runners["transformers sdpa"] = transformers_tower(tower)
    if version("flash-attn"):
        runners["transformers fa2"] = flash = transformers_tower(tower)
        flash.model.set_attn_implementation("flash_attention_2")
    return runners


def compiled(tower: ComposedVisionEncoder, *, mode: str = "default", **keys: Any) -> ComposedVisionEncoder:
    """The same tower, with the same weights, compiled."""
    twin = copy.deepcopy(tower, {id(t): t for t in (*tower.parameters(), *tower.buffers())})
    compile_tower(twin.tower, CompileConfig.model_validate(compile_keys(tower.device, mode, **keys)))
    return twin


def transformers_tower(tower: ComposedVisionEncoder) -> TransformersTower:
    return quickly_built(tower.device, lambda: TransformersTower(tower))
