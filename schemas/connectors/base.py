"""What every connector's config block has in common."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from ..encoders.base import Count
from ..typed import TypedBlock
from ..weights import SourceConfig


class ConnectorConfig(TypedBlock):
    """A connector: the module between tower and language model.

    A connector is a subclass with ``type: Literal["..."]`` and fields of its own.
    """

    behind_several: ClassVar[bool] = False
    """Whether it can stand behind several towers: all it reads of a tower are its tokens and their grid."""

    hidden_size: Annotated[Count, Field(examples=[4096])]
    """Width of what the language model reads: of its token embeddings."""
    weights: Annotated[SourceConfig | None, Field(examples=[{"source": "llava-hf/llava-1.5-7b-hf"}])] = None
    """Where the connector's weights come from; null: from where the tower's come."""
