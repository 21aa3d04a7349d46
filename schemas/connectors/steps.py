"""A connector of your own, composed of steps."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from ..base import invalid, problem
from ..encoders.base import Activation, Count, Epsilon
from ..typed import TypedBlock, typed_block
from .base import ConnectorConfig
from .internvl import Factor

MAX_STEPS = 64
MAX_WIDTH = 131_072
"""The most features that a step may make of a row: as many as the largest width that a config can name."""


class Step(TypedBlock):
    """One step of a connector."""

    def width_after(self, width: int | None) -> int | None:
        """Features of a row behind this step, for rows of ``width``; None where that is not known yet."""
        return width


class WeightedStep(Step):
    """A step that has weights."""

    tensors: Annotated[str | None, Field(min_length=1, examples=["multi_modal_projector.linear_1"])] = None
    """What its tensors are called on disk, without ``.weight`` and ``.bias``; null: ``steps.0`` and so on."""


class NormStep(WeightedStep):
    """A norm over the features of each row."""

    type: Literal["norm"]
    kind: Literal["layer", "rms", "rms1p"] = "layer"
    """``layer`` (torch's LayerNorm), ``rms`` (no mean, no bias), or ``rms1p`` (as ``rms``, and multiplied by
    one plus the weight, as in Gemma)."""
    eps: Epsilon = 1e-5
    """Epsilon of the norm."""


class SpaceToDepthStep(Step):
    """Every square of rows becomes one row, with the features of all side by side."""

    type: Literal["space_to_depth"]
    factor: Factor = 2
    """Rows along a side of the square."""
    order: Literal["hwc", "chw"] = "hwc"
    """``hwc`` (all features of the square's first row, then of the next), or ``chw`` (the first feature of
    all its rows, then the next, as Mistral's)."""

    def width_after(self, width: int | None) -> int | None:
        return None if width is None else width * self.factor**2


class AvgPoolStep(Step):
    """Every square of rows becomes one row: their mean."""

    type: Literal["avg_pool"]
    kernel: Factor = 2
    """Rows along a side of the square."""


class LinearStep(WeightedStep):
    """A linear layer."""

    type: Literal["linear"]
    width: Annotated[Count, Field(examples=[4096])]
    """Features that come out."""
    bias: bool = True
    """Whether it has a bias."""

    def width_after(self, width: int | None) -> int | None:
        return self.width


class ActStep(Step):
    """An activation."""

    type: Literal["act"]
    name: Activation = "gelu"
    """Which one."""


class SwigluStep(WeightedStep):
    """A linear layer of twice the width, whose first half is multiplied by SiLU of its second."""

    type: Literal["swiglu"]
    width: Annotated[Count, Field(examples=[14336])]
    """Features that come out."""
    bias: bool = True
    """Whether the linear layer has a bias."""

    def width_after(self, width: int | None) -> int | None:
        return self.width


STEP_CONFIGS: dict[str, type[Step]] = {
    step.type_name(): step
    for step in (NormStep, SpaceToDepthStep, AvgPoolStep, LinearStep, ActStep, SwigluStep)
}
"""type -> its config block."""


def step_config(data: object) -> Step:
    """The config block of the step that ``data["type"]`` names.

    Raises:
        pydantic.ValidationError: If the type is missing or unknown, or its class refuses the block.
    """
    return typed_block(data, STEP_CONFIGS, Step, "step")


AnyStep = Annotated[
    Step,
    PlainValidator(step_config),
    PlainSerializer(lambda step: step.model_dump(mode="json"), return_type=dict[str, Any]),
    WithJsonSchema({"type": "object"}),  # the real one, by type, is made in json_schema.py
]


class StepsConnectorConfig(ConnectorConfig):
    """A new connector: steps that run one after the other on the rows of an image or tile."""

    behind_several: ClassVar = True

    type: Literal["steps"]
    steps: Annotated[
        tuple[AnyStep, ...],
        Field(
            strict=False,
            max_length=MAX_STEPS,
            examples=[
                [{"type": "linear", "width": 64}],
                [{"type": "space_to_depth"}, {"type": "norm"}, {"type": "linear", "width": 64}],
            ],
        ),
    ]
    """``norm``, ``space_to_depth``, ``avg_pool``, ``linear``, ``act`` and ``swiglu``, each with its type and
    its own keys."""

    @field_validator("steps", mode="before")
    @classmethod
    def _list_of_steps(cls, value: object) -> object:
        if isinstance(value, (list, tuple)) and value:
            return value
        message = "expected a list of steps, such as [{type: linear, width: 4096}]"
        raise invalid("steps", problem("VC103", message, value=value))

    def widths(self, width: int | None) -> list[int | None]:
        """Features of a row behind each step, for rows of ``width``; None where that is not known yet."""
        found: list[int | None] = []
        for step in self.steps:
            width = step.width_after(width)
            found.append(width)
        return found

    def fault_of_widths(self, width: int | None) -> tuple[tuple[str | int, ...], str] | None:
        """Return where the widths go wrong and why, for rows of ``width``; None if nothing does."""
        widths = self.widths(width)
        for i, made in enumerate(widths):
            if made is not None and made > MAX_WIDTH:
                return ("steps", i), f"makes rows of {made:,} features; the limit is {MAX_WIDTH:,}"
        last = widths[-1]
        if last is None or last == self.hidden_size:
            return None
        return ("hidden_size",), (
            f"the last step makes rows of {last} features, and the language model reads {self.hidden_size}; "
            "the two must be equal"
        )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if fault := self.fault_of_widths(None):
            where, message = fault
            raise invalid("steps", problem("VC211", message, *where, value=self.hidden_size))
        return self
