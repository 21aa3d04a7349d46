"""How vision-language models of transformers read their towers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Reading:
    """How a vision-language model reads its tower, where its config.json says nothing.

    Attributes:
        layer: Default of vision_feature_layer; None for a model that reads the tower's own output.
        strategy: Default of vision_feature_select_strategy; or, without a layer, what the model always does.
        chooses: Whether its config can choose another strategy.
        last_is_normed: Whether its layer -1 means last_hidden_state.
    """

    layer: int | tuple[int, ...] | None = None
    strategy: Literal["default", "full"] = "full"
    chooses: bool = True
    last_is_normed: bool = False
