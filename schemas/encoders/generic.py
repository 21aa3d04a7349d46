"""Any other vision encoder of transformers, through the generic adapter."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from .base import DenseEncoderConfig, Extra

_INERT = re.compile(
    r"dropout|drop_path|initializer|mask_token|head$|^layer_?scale|^pos_embed_|^projection_dim$"
)


class GenericEncoderConfig(DenseEncoderConfig):
    """An encoder that transformers' own forward runs; its other keys go to transformers' config as they are.

    ``prefix_tokens`` is required, because the number of prefix tokens cannot be read off a config and is
    never guessed. Writing it asks for the generic adapter, for an encoder with a family too.
    """

    model_config = ConfigDict(extra="allow")
    generic: ClassVar[bool] = True

    depth_fields: ClassVar[frozenset[str]] = frozenset({"num_hidden_layers", "depth"})

    model_type: Annotated[str, Field(examples=["vit_msn"])]
    """The encoder's model_type in transformers."""
    prefix_tokens: Annotated[Extra, Field(examples=[1])]
    """Tokens in front of the patches (class token, registers, distillation token)."""

    @classmethod
    def is_inert(cls, field: str) -> bool:
        # The fields are those of any config of transformers: what they are for is read off their names.
        return _INERT.search(field) is not None

    @property
    def num_prefix_tokens(self) -> int:
        return self.prefix_tokens

    @property
    def has_post_norm(self) -> bool:
        return False

    def transformers_fields(self) -> dict[str, Any]:
        """The keys that belong to transformers' config."""
        return self.model_dump(exclude={"prefix_tokens"}, exclude_unset=True)
