"""How images become pixels: what a config sets instead of what the checkpoint's image processor says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import InitErrorDetails

from ..text import did_you_mean
from .base import ConfigModel, invalid, problem
from .processor_class import plain_name
from .processor_classes import PROCESSOR_CLASSES

MAX_SIDE = 1 << 16
"""Longest side in pixels that a config can name; decoding and resizing have limits of their own."""

Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Area = Annotated[int, Field(ge=1, le=MAX_SIDE**2)]
Channels = Annotated[tuple[float, ...], Field(strict=False, min_length=1, max_length=3)]
Resample = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]

_FORMS = ({"height", "width"}, {"shortest_edge"}, {"longest_edge"}, {"shortest_edge", "longest_edge"})


class SizeConfig(ConfigModel):
    """A size as transformers' image processors write it: height and width, or edges."""

    height: Annotated[Side | None, Field(examples=[336])] = None
    """Height in pixels, beside ``width``."""
    width: Annotated[Side | None, Field(examples=[336])] = None
    """Width in pixels, beside ``height``."""
    shortest_edge: Annotated[Area | None, Field(examples=[336])] = None
    """Length of the shorter side in pixels; Qwen's and GLM's processors: the least area."""
    longest_edge: Annotated[Area | None, Field(examples=[1540])] = None
    """Greatest length of the longer side in pixels; Qwen's and GLM's processors: the greatest area."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if set(self.given()) not in _FORMS:
            message = "name height and width, or shortest_edge, longest_edge, or both edges"
            raise invalid("size", problem("VC104", message, value=self.given()))
        return self

    def given(self) -> dict[str, int]:
        """The keys that are set, as an image processor takes them."""
        return self.model_dump(exclude_none=True)


class BoxConfig(ConfigModel):
    """A height and a width."""

    height: Annotated[Side, Field(examples=[336])]
    """Height in pixels."""
    width: Annotated[Side, Field(examples=[336])]
    """Width in pixels."""


class ImageProcessorConfig(ConfigModel):
    """How images become pixels. What is not set is as the checkpoint's own processor config says."""

    type: Annotated[str | None, Field(examples=["CLIPImageProcessor", "LlavaNextImageProcessor"])] = None
    """Class of transformers' image processor, without Fast or Pil; null: the checkpoint's or family's."""
    size: Annotated[Side | SizeConfig | None, Field(examples=[448, {"shortest_edge": 448}])] = None
    """Side in pixels of what comes out, cropped where the processor crops; or its ``size`` as transformers
    writes it."""
    min_pixels: Annotated[Area | None, Field(examples=[3136])] = None
    """Least area in pixels of an image that keeps its aspect ratio."""
    max_pixels: Annotated[Area | None, Field(examples=[1003520])] = None
    """Greatest area in pixels of an image that keeps its aspect ratio."""
    patch_size: Annotated[Side | None, Field(examples=[28])] = None
    """What Pixtral's processor rounds sides up to: a patch, or as many as the model merges."""
    resample: Annotated[Resample | None, Field(examples=["bicubic"])] = None
    """Filter of resizing."""
    mean: Annotated[Channels | None, Field(examples=[[0.5, 0.5, 0.5]])] = None
    """Mean of every channel that is subtracted, from 0 to 1."""
    std: Annotated[Channels | None, Field(examples=[[0.5, 0.5, 0.5]])] = None
    """Deviation of every channel that is divided by."""
    crop: Annotated[bool | Side | BoxConfig | None, Field(examples=[False, 336])] = None
    """Whether the centre is cut out after resizing, or the size that is cut out."""
    pad: Annotated[bool | None, Field(examples=[True])] = None
    """Whether an image is padded to a square before anything else."""

    @field_validator("size", mode="before")
    @classmethod
    def _size_block(cls, value: object) -> object:
        # Validated here, so that an error's location is a YAML path without the union's branch names.
        if isinstance(value, Mapping):
            return SizeConfig.model_validate(value)
        return _side("size", value) if not isinstance(value, SizeConfig) else value

    @field_validator("crop", mode="before")
    @classmethod
    def _crop_block(cls, value: object) -> object:
        if isinstance(value, Mapping):
            return BoxConfig.model_validate(value)
        return value if isinstance(value, (bool, BoxConfig)) else _side("crop", value)

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _list_of_channels(cls, value: object) -> object:
        if value is None or isinstance(value, (list, tuple)):
            return value
        raise invalid("channels", problem("VC103", "expected a list with a number per channel", value=value))

    @field_validator("std")
    @classmethod
    def _above_zero(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and not all(0 < number < float("inf") for number in value):
            raise invalid("std", problem("VC104", "must be above 0, because it is divided by", value=value))
        return value

    @model_validator(mode="after")
    def _rules(self) -> Self:
        problems = [*self._type_rules(), *self._range_rules()]
        if problems:
            raise invalid("image_processor", *problems)
        return self

    def _type_rules(self) -> list[InitErrorDetails]:
        if self.type is None:
            return []
        if self.type not in PROCESSOR_CLASSES:
            plain = plain_name(self.type)
            hint = did_you_mean(plain, PROCESSOR_CLASSES)
            message = f"unknown image processor {self.type!r}{hint}"
            if not hint:
                message += f"; known are {', '.join(PROCESSOR_CLASSES)}"
            return [problem("VC212", message, "type", value=self.type)]
        return [
            problem("VC212", message, key, value=getattr(self, key))
            for key, message in self.unknown_keys(self.type)
        ]

    def _range_rules(self) -> list[InitErrorDetails]:
        low, high = self.min_pixels, self.max_pixels
        if low is None or high is None or low <= high:
            return []
        message = f"must be at most max_pixels, {high}"
        return [problem("VC104", message, "min_pixels", value=low)]

    def unknown_keys(self, name: str) -> list[tuple[str, str]]:
        """Return the keys that are set and mean nothing to a class, each with what to say of it."""
        known = PROCESSOR_CLASSES[name].keys
        return [
            (key, f"{name} does not know it; it takes {', '.join(k for k in _KEYS if k in known)}")
            for key in _KEYS
            if getattr(self, key) is not None and key not in known
        ]


_KEYS = tuple(key for key in ImageProcessorConfig.model_fields if key != "type")


def _side(name: str, value: object) -> object:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    message = "expected a number of pixels, or a mapping such as {height: 336, width: 336}"
    raise invalid(name, problem("VC103", message, value=value))
