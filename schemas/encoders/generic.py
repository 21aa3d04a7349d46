"""Any other vision encoder of transformers, through the generic adapter."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from .base import DenseEncoderConfig


class GenericEncoderConfig(DenseEncoderConfig):
    """An encoder without a family file here: its remaining keys go to transformers' config as they stand.

    ``prefix_tokens`` is required, because the number of prefix tokens cannot be read off a config and is
    never guessed. Writing it is what asks for the generic adapter.
    """

    model_config = ConfigDict(extra="allow")

    model_type: Annotated[str, Field(examples=["vit"])]
    """The encoder's model_type in transformers."""
    prefix_tokens: Annotated[int, Field(ge=0, examples=[1])]
    """Tokens in front of the patches (class token, registers, distillation token)."""

    @property
    def num_prefix_tokens(self) -> int:
        return self.prefix_tokens

    @property
    def has_post_norm(self) -> bool:
        return False

    def transformers_fields(self) -> dict[str, Any]:
        """The keys that belong to transformers' config."""
        return self.model_dump(exclude={"prefix_tokens"}, exclude_unset=True)
