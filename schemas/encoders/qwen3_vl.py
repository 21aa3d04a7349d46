"""Qwen3-VL's vision tower: ``Qwen3VLVisionConfig`` of transformers."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic_core import InitErrorDetails

from ..base import problem
from .base import Blocks, missing_block
from .qwen3_5 import Qwen3_5VisionEncoderConfig


class Qwen3VLVisionEncoderConfig(Qwen3_5VisionEncoderConfig):
    """Qwen3-VL ViT: Qwen3.5's, and DeepStack: outputs of inner blocks, each with a merger of its own."""

    deepstack: ClassVar[bool] = True
    depth_fields: ClassVar[frozenset[str]] = frozenset({"depth", "deepstack_visual_indexes"})

    model_type: Literal[  # type: ignore[assignment]  # its own names
        "qwen3_vl_vision", "qwen3_vl_moe_vision", "cohere_compass_vision"
    ]
    deepstack_visual_indexes: Blocks = (
        8,
        16,
        24,
    )
    """Blocks whose outputs are merged beside the last one's, counted from 0."""

    @property
    def deepstack_layers(self) -> tuple[int, ...]:
        return self.deepstack_visual_indexes

    def without_deepstack(self) -> Self:
        return self.model_copy(update={"deepstack_visual_indexes": ()})

    def _check(self) -> list[InitErrorDetails]:
        problems = super()._check()
        seen: set[int] = set()
        for i, block in enumerate(self.deepstack_visual_indexes):
            message = ""
            if block >= self.depth:
                message = missing_block(block, self.depth)
            elif block in seen:
                message = f"block {block} is named twice"
            if message and "deepstack_visual_indexes" in self.model_fields_set:
                problems.append(problem("VC208", message, "deepstack_visual_indexes", i, value=block))
            elif message:
                message = f"{message}; name the blocks in deepstack_visual_indexes"
                problems.append(problem("VC208", message, "depth", value=self.depth))
                break
            seen.add(block)
        return problems
