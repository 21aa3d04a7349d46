"""What is checked: an encoder with random weights, the towers composed from it, and inputs for them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..composing import compose
from ..encoder import ComposedVisionEncoder
from ..encoders import EncoderFamily
from ..errors import ConformanceError
from ..schemas import EncoderConfig, TowerConfig

_TOLERANCE = 1e-5
"""Rounding differs between batch sizes and kernels; a wrong stage differs by far more."""


class Subject(ABC):
    """An encoder, a checkpoint of it, and towers composed from that.

    Args:
        encoder: The config block.
        family: Its family.
        folder: An empty folder, for the checkpoint and what is saved.

    Attributes:
        images: The inputs of each of several images alone.
    """

    images: list[dict[str, Tensor]]

    def __init__(self, encoder: EncoderConfig, family: EncoderFamily, folder: Path) -> None:
        self.encoder = encoder
        self.family = family
        self.folder = folder
        self.reference = self._reference()
        self.reference.save_pretrained(folder / "checkpoint")
        self._towers: dict[str, ComposedVisionEncoder] = {}
        self._saved: dict[str, Path] = {}

    def _reference(self) -> Any:
        """transformers' own module, whole."""
        config = self.family.transformers_config(self.encoder, self.depth, head=self.encoder.has_head)
        model = self.family.transformers_class(config)(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                # Off its initial value, so that no zero or one can hide a stage that was left out.
                parameter.add_(torch.randn_like(parameter) * 0.05)
        return model

    @property
    def depth(self) -> int:
        return self.encoder.num_hidden_layers

    def compose(self, **keys: Any) -> ComposedVisionEncoder:
        """The tower with these keys of a config, composed once."""
        name = named(keys)
        if name not in self._towers:
            weights = {"source": str(self.folder / "checkpoint")}
            config = {"schema": 1, "encoder": self.encoder, "weights": weights, **keys}
            self._towers[name] = compose(TowerConfig.model_validate(config), device="cpu")
        return self._towers[name].eval()

    def compose_all_states(self) -> ComposedVisionEncoder:
        return self.compose(select_layers=list(range(self.depth + 1)))

    def save(self, **keys: Any) -> Path:
        """The folder that the tower with these keys is saved in, once."""
        name = named(keys)
        if name not in self._saved:
            self._saved[name] = self.folder / f"saved-{len(self._saved)}"
            self.compose(**keys).save(self._saved[name])
        return self._saved[name]

    def layers(self) -> list[dict[str, Any]]:
        """The towers that return one hidden state."""
        return [{"select_layers": [k]} for k in range(self.depth + 1)]

    @abstractmethod
    def outputs(self) -> list[dict[str, Any]]:
        """The others: with the post-norm, the encoder's own, with the head."""

    def picture(self, width: int, height: int) -> dict[str, Tensor]:
        """The inputs of a picture of random pixels, from the encoder's image processor."""
        noise = torch.randint(256, (height, width, 3), dtype=torch.uint8)
        return self.compose().preprocess([noise.numpy()])

    def collate(self, images: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """One batch of the inputs of single images."""
        return self.compose().preprocessor.collate(images)

    def batch(self) -> dict[str, Tensor]:
        """The inputs of all images."""
        return self.collate(self.images)

    def states(self, inputs: Mapping[str, Tensor]) -> list[list[Tensor]]:
        """Hidden states 0 to N that one tower returns, each of them image by image."""
        images = [part.chunk(self.depth + 1, dim=-1) for part in run(self.compose_all_states(), inputs)]
        return [list(state) for state in zip(*images, strict=True)]


Checks = tuple[type[Subject], dict[str, Callable[[Any], None]]]
"""What is made of an encoder, and the properties that are checked of it, by name."""


def run(tower: ComposedVisionEncoder, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """A tower's features, image by image."""
    with torch.no_grad():
        return list(tower(**inputs))


def check_equal(got: Sequence[Tensor], want: Sequence[Tensor], what: str) -> None:
    """Compare features image by image.

    Raises:
        ConformanceError: They differ by more than rounding; says how.
    """
    if len(got) != len(want):
        raise ConformanceError(f"{what}: {len(got)} images come out of {len(want)}")
    for ours, theirs in zip(got, want, strict=True):
        if ours.shape != theirs.shape:
            raise ConformanceError(f"{what} has shape {tuple(ours.shape)}, not {tuple(theirs.shape)}")
        if not torch.allclose(ours, theirs, rtol=_TOLERANCE, atol=_TOLERANCE):
            if not ours.isfinite().all():
                raise ConformanceError(f"{what}: {int((~ours.isfinite()).sum())} values are not finite")
            raise ConformanceError(f"{what}: differs by up to {(ours - theirs).abs().max().item():.3g}")


def named(keys: Mapping[str, Any]) -> str:
    """Keys of a config as they would stand in it."""
    return ", ".join(f"{key}: {str(value).lower()}" for key, value in keys.items()) or "select_layers: null"
