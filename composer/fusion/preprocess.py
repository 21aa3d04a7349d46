"""Images to the inputs of several towers, each by its own image processor. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from PIL import Image

from ..images.preprocess import Preprocessor
from .inputs import FusedInput, of_each
from .naming import naming

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class FusedPreprocessor(Preprocessor):
    """Decodes an image once, and makes every tower's inputs of it.

    Args:
        towers: The preprocessor of every tower, by name.
        joins: Makes one batch of the towers' batches.
    """

    def __init__(self, towers: Mapping[str, Preprocessor], joins: FusedInput) -> None:
        self.towers, self.joins = dict(towers), joins

    def read_opened(self, image: Image.Image, label: str) -> dict[str, Tensor]:
        read: dict[str, Tensor] = {}
        for name, tower in self.towers.items():
            with naming(name):
                read |= {f"{name}_{key}": part for key, part in tower.read_opened(image, label).items()}
        return read

    def finish(
        self, images: Sequence[Mapping[str, Tensor]], device: str | torch.device = "cpu"
    ) -> dict[str, Tensor]:
        made = {}
        for name, tower in self.towers.items():
            with naming(name):
                made[name] = tower.finish(of_each(images, name), device)
        return self.joins.join(made)

    def share(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
        return all(tower.share(*of_each([one, other], name)) for name, tower in self.towers.items())

    def check_channels(self) -> None:
        for name, tower in self.towers.items():
            with naming(name):
                tower.check_channels()

    def pixels(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        return [
            pixels
            for name, tower in self.towers.items()
            for pixels in tower.pixels(of_each([inputs], name)[0])
        ]
