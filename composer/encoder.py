"""The encoder of one tower."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .attention import AttentionChoice
from .bridges.flags import without_flags
from .encoders import AnyFamily, VisionEncoderInfo
from .errors import InputError
from .images.preprocess import ImagePreprocessor
from .parallel import DataParallel
from .planning import Plan
from .schemas import TowerConfig
from .tower.half import VisionHalf
from .tower.module import VisionTower
from .vision_encoder import VisionEncoder
from .weights import save_tower


class ComposedVisionEncoder(VisionEncoder):
    """A :class:`VisionEncoder` of one tower.

    Its parameters are those of transformers' own module, ``encoder.model``; blocks, norms and heads that the
    selection does not need are not built.

    Args:
        plan: The config, and every fact that follows from it without weights.
        vision: The module that runs a batch: the tower, or the tower with the connector behind it.
        preprocessor: What turns images into the tower's inputs.
        attention: Which attention backend runs the blocks, and why.
        parallel: What spreads images over several processes; None if there is one process.
    """

    plan: Plan
    vision: VisionTower | VisionHalf
    preprocessor: ImagePreprocessor

    def __init__(
        self,
        plan: Plan,
        vision: VisionTower | VisionHalf,
        preprocessor: ImagePreprocessor,
        attention: AttentionChoice,
        *,
        parallel: DataParallel | None = None,
    ) -> None:
        super().__init__(plan, vision, preprocessor, parallel=parallel)
        self.model = vision.tower.model
        self.connector = vision.connector_module
        self.attention = attention

    @property
    def config(self) -> TowerConfig:
        """The config that this encoder was composed from."""
        return self.plan.config

    @property
    def tower(self) -> VisionTower:
        """The module that runs transformers' blocks and reads features off them."""
        return self.vision.tower

    @property
    def info(self) -> VisionEncoderInfo:
        """Facts about the encoder that hold without its weights, such as sizes and widths."""
        return self.plan.info

    @property
    def family(self) -> AnyFamily:
        """The encoder's family: how its stages run in transformers' module."""
        return self.tower.family

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks, in order."""
        return self.tower.blocks

    def tokens_of(self, width: int, height: int, frames: int = 1) -> int:
        """Count the output tokens for ``pixel_values`` of that size, which are resized already.

        Raises:
            InputError: If the encoder does not take pixels of that size.
        """
        return self.plan.tokens_of(width, height, frames)

    def encode_reduced(self, **inputs: Any) -> list[tuple[Tensor, Tensor]]:
        """Encode a batch as a call does, and tell which tokens ``reduce`` keeps.

        Position ids of the tokens that stay are those of the indices; see docs/language-model.md.

        Args:
            **inputs: As those of :meth:`forward`; what :meth:`preprocess` returns.

        Returns:
            For every image or clip the features that :meth:`forward` returns, (tokens, width), and the
            indices of these tokens among all that would come out without ``reduce``, (tokens,) int64,
            ascending, on the same device. With ``pool``, that of the token at the middle of each cell.

        Raises:
            InputError: As :meth:`forward`; or if the config has no ``reduce``, or images are spread over
                processes.
        """
        if not isinstance(self.vision, VisionHalf) or self.vision.reduction is None:
            raise InputError("this encoder returns all tokens: set reduce in its config")
        if self.parallel is not None:
            raise InputError(
                "indices of tokens are not gathered from other processes: compose with parallel=none"
            )
        return self.vision.reduced(self.vision.read(without_flags(inputs)))

    def save(self, folder: str | Path, *, merge_adapters: bool = False) -> None:
        if self.parallel is None or self.parallel.rank == 0:
            save_tower(
                self.model,
                self.plan.processor,
                self.config,
                Path(os.path.expanduser(folder)),
                connector=self.connector,
                dtype=self.dtype,
                merge_adapters=merge_adapters,
            )
