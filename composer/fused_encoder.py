"""The encoder of several towers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from .attention import AttentionChoice
from .fusion.module import FusedTowers
from .fusion.naming import naming
from .images.preprocess import Preprocessor
from .parallel import DataParallel
from .planning import FusedPlan
from .vision_encoder import VisionEncoder
from .weights import save_fused, save_tower


class FusedVisionEncoder(VisionEncoder):
    """A :class:`VisionEncoder` of several towers, which see the same images and whose tokens are joined.

    ``encoder.towers`` has transformers' module of every tower by its name, ``encoder.project`` the linear
    layers on their tokens.

    Args:
        plan: The config, and every fact that follows from it without weights.
        vision: The module that runs a batch.
        preprocessor: What turns images into the module's inputs.
        attention: Which attention backend runs the blocks of every tower, and why.
        parallel: What spreads images over several processes; None if there is one process.
    """

    plan: FusedPlan
    vision: FusedTowers

    def __init__(
        self,
        plan: FusedPlan,
        vision: FusedTowers,
        preprocessor: Preprocessor,
        attention: Mapping[str, AttentionChoice],
        *,
        parallel: DataParallel | None = None,
    ) -> None:
        super().__init__(plan, vision, preprocessor, parallel=parallel)
        self.towers = nn.ModuleDict({name: tower.model for name, tower in vision.parts.items()})
        self.project = vision.project
        self.connector = vision.connector_module
        self.attention = dict(attention)

    def save(self, folder: str | Path, *, merge_adapters: bool = False) -> None:
        if self.parallel is not None and self.parallel.rank:
            return
        root = Path(os.path.expanduser(folder))
        for name, tower in self.plan.towers.items():
            with naming(name):
                save_tower(
                    self.vision.parts[name].model,
                    tower.processor,
                    tower.config,
                    root / name,
                    connector=None,
                    dtype=self.dtype,
                    merge_adapters=merge_adapters,
                )
        save_fused(
            self.plan.config,
            root,
            project=self.project,
            connector=self.connector,
            dtype=self.dtype,
            merge_adapters=merge_adapters,
        )
