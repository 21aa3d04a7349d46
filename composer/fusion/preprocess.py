"""Images to the inputs of several towers, each by its own image processor. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from PIL import Image

from ..images.preprocess import Preprocessor, Read
from ..images.reading import Arrays, Reader
from .inputs import FusedInput, of_each
from .naming import naming

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class FusedReader(Reader):
    """Decodes an image once, and reads it for every tower.

    Args:
        towers: The reader of every tower, by name.
    """

    def __init__(self, towers: Mapping[str, Reader]) -> None:
        self.towers = dict(towers)

    def opened(self, image: Image.Image, label: str) -> Arrays:
        read: Arrays = {}
        for name, tower in self.towers.items():
            with naming(name):
                read |= {f"{name}_{key}": part for key, part in tower.opened(image, label).items()}
        return read

    def check_channels(self) -> None:
        for name, tower in self.towers.items():
            with naming(name):
                tower.check_channels()


class FusedPreprocessor(Preprocessor):
    """Decodes an image once, and makes every tower's inputs of it.

    Args:
        towers: The preprocessor of every tower, by name.
        joins: Makes one batch of the towers' batches.
    """

    def __init__(self, towers: Mapping[str, Preprocessor], joins: FusedInput) -> None:
        super().__init__(FusedReader({name: tower.reader for name, tower in towers.items()}))
        self.towers, self.joins = dict(towers), joins

    def finish(self, images: Sequence[Read], device: str | torch.device = "cpu") -> dict[str, Tensor]:
        made = {}
        for name, tower in self.towers.items():
            with naming(name):
                made[name] = tower.finish(of_each(images, name), device)
        return self.joins.join(made)

    def share(self, one: Read, other: Read) -> bool:
        return all(tower.share(*of_each([one, other], name)) for name, tower in self.towers.items())

    def num_values(self, image: Read) -> int:
        return sum(tower.num_values(of_each([image], name)[0]) for name, tower in self.towers.items())
