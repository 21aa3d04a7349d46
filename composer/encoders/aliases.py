"""Names for the types that the encoder families share. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

FromTransformers: TypeAlias = Any
"""A module, class, config or output of transformers, whose attributes have no types."""

JsonObject: TypeAlias = Mapping[str, Any]
"""What a file such as config.json holds."""

BlockInputs: TypeAlias = dict[str, Any]
"""Keyword arguments of a block of transformers."""

RunBlock: TypeAlias = "Callable[..., Tensor]"
"""Runs one block: called with the block, the hidden states, and the block's keyword arguments."""

Reads: TypeAlias = "Mapping[int, Callable[[Tensor], Tensor]]"
"""Hidden state -> the function that is applied to it as soon as it is computed."""

Norm: TypeAlias = "Callable[[Tensor], Tensor]"
"""A post-norm, or the function that replaces it."""
