"""What an encoder of several towers is called with, and what each tower is called with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..encoders import VisionEncoderInfo
from ..encoders.inputs import check_pixels, refuse_unknown
from ..errors import InputError
from .naming import naming

if TYPE_CHECKING:
    from torch import Tensor

_FUSED = "fused"


@dataclass(frozen=True)
class FusedInput(ABC):
    """The inputs of several towers as those of one encoder.

    Attributes:
        infos: Facts about every tower, by name.
    """

    infos: Mapping[str, VisionEncoderInfo]

    @abstractmethod
    def split(self, inputs: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        """Return the inputs of every tower.

        Args:
            inputs: Those of the encoder; none is None.

        Raises:
            InputError: If some are missing, unknown, or of a wrong shape.
        """

    def join(self, inputs: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Return the inputs of the encoder for those of every tower, each made by its own processor."""
        return {f"{name}_{key}": value for name, own in inputs.items() for key, value in own.items()}


@dataclass(frozen=True)
class PerTower(FusedInput):
    """Inputs of every tower under names of their own: ``<tower>_pixel_values`` and so on."""

    def split(self, inputs: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        found: dict[str, dict[str, Any]] = {name: {} for name in self.infos}
        for key, value in inputs.items():
            name, _, own = key.partition("_")
            if name not in found:
                raise InputError(
                    f"unexpected input {key}: every input begins with the name of its tower, "
                    f"{' or '.join(f'{name}_' for name in found)}"
                )
            found[name][own] = value
        return dict(found)


@dataclass(frozen=True)
class Stacked(FusedInput):
    """One ``pixel_values`` with the channels of all towers one after another."""

    def split(self, inputs: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        channels = [info.num_channels for info in self.infos.values()]
        pixels = _pixels(inputs, sum(channels))
        import torch

        parts = torch.split(pixels, channels, dim=1)
        return {name: {"pixel_values": part} for name, part in zip(self.infos, parts, strict=True)}

    def join(self, inputs: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        import torch

        return {"pixel_values": torch.cat([own["pixel_values"] for own in inputs.values()], dim=1)}


@dataclass(frozen=True)
class Shared(FusedInput):
    """One ``pixel_values`` that is resampled to the size that each tower's own image processor makes.

    Attributes:
        resample: The mode of torch.nn.functional.interpolate.
        align_corners: Its argument.
    """

    resample: str
    align_corners: bool

    def split(self, inputs: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        from .resampling import resampled

        channels = next(iter(self.infos.values())).num_channels
        pixels = _pixels(inputs, channels)
        height, width = pixels.shape[2:]
        found: dict[str, Mapping[str, Any]] = {}
        for name, info in self.infos.items():
            with naming(name):
                columns, rows = info.resized(width, height)
            found[name] = {
                "pixel_values": resampled(pixels, (rows, columns), self.resample, self.align_corners)
            }
        return found


def _pixels(inputs: Mapping[str, Any], channels: int) -> Tensor:
    """Return ``pixel_values`` (images, channels, height, width).

    Raises:
        InputError: If they are not that, or there are other inputs.
    """
    refuse_unknown(_FUSED, inputs, ("pixel_values",))
    pixels = check_pixels("pixel_values", inputs.get("pixel_values"))
    if pixels.dim() != 4 or pixels.shape[1] != channels:
        raise InputError(
            f"pixel_values must be (images, {channels}, height, width), not {tuple(pixels.shape)}"
        )
    return pixels


def of_each(parts: Sequence[Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return what belongs to a tower of what was read of images by every tower's preprocessor."""
    start = f"{name}_"
    return [
        {key.removeprefix(start): value for key, value in part.items() if key.startswith(start)}
        for part in parts
    ]
