"""The config blocks of the ways to reduce visual tokens. What runs them is in ``composer/reduce``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema

from .typed import TypedBlock, typed_block


class ReduceConfig(TypedBlock):
    """A way to reduce the tokens of an image or clip, without training and without attention.

    A reduction is a subclass with ``type: Literal["..."]``.
    """

    keep: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The share of tokens that stay; the type says how their number is rounded."""


class PoolReduceConfig(ReduceConfig):
    """The mean of neighbouring tokens: of every frame, both sides times the root of ``keep``, rounded up."""

    type: Literal["pool"]


class EvsReduceConfig(ReduceConfig):
    """Efficient Video Sampling: the tokens of a clip that differ most from the frame before."""

    type: Literal["evs"]


class Vidcom2ReduceConfig(ReduceConfig):
    """Video Compression Commander: tokens that are unique in the clip and in their frame."""

    type: Literal["vidcom2"]


REDUCE_CONFIGS: dict[str, type[ReduceConfig]] = {
    block.type_name(): block for block in (EvsReduceConfig, PoolReduceConfig, Vidcom2ReduceConfig)
}
"""type -> its config block."""


def reduce_config(data: object) -> ReduceConfig | None:
    """The config block of the reduction that ``data["type"]`` names; None stays what it is.

    Raises:
        pydantic.ValidationError: If the type is missing or unknown, or its class refuses the block.
    """
    return None if data is None else typed_block(data, REDUCE_CONFIGS, ReduceConfig, "reduce")


AnyReduceConfig = Annotated[
    ReduceConfig | None,
    PlainValidator(reduce_config),
    PlainSerializer(
        lambda block: None if block is None else block.model_dump(mode="json", exclude_unset=True),
        return_type=Any,
    ),
    WithJsonSchema({}),  # the real one, by type, is made in json_schema.py
]
