"""How transformers' vision-language models read their towers: which layer, and which tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Reading:
    """How a vision-language model reads its tower if its config.json does not say.

    Attributes:
        layer: Default of vision_feature_layer; None if the model reads the tower's own output.
        strategy: Default of vision_feature_select_strategy; without a layer, what the model always uses.
        chooses: Whether the model's config can choose another strategy.
        last_is_normed: Whether the model's layer -1 means last_hidden_state.
    """

    layer: int | tuple[int, ...] | None = None
    strategy: Literal["default", "full"] = "full"
    chooses: bool = True
    last_is_normed: bool = False
