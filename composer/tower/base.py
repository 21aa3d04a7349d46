"""The face of what turns a batch into features: a tower, or a tower with a connector behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from ..encoders.batch import Images
from ..encoders.facts import Grid

Features = Tensor | tuple[Tensor, ...]
"""A batch (images, tokens, width), or one (tokens, width) tensor for each image."""

ImagesT = TypeVar("ImagesT", bound=Images)


class VisionModule(nn.Module, ABC, Generic[ImagesT]):
    """Turns the inputs of images into features, image by image."""

    @property
    def device(self) -> torch.device:
        """The device that the parameters are on."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters and of the output."""
        return next(self.parameters()).dtype

    @abstractmethod
    def read(self, inputs: Mapping[str, Any]) -> ImagesT:
        """Check the inputs of a forward and return them as a batch.

        Args:
            inputs: What preprocessing returns, by the same names; what is None counts as not given.

        Raises:
            InputError: If inputs are missing, unknown, of a wrong shape or dtype, or do not fit together.
        """

    @abstractmethod
    def rows_of_batch(self, batch: ImagesT) -> list[int]:
        """Count the output tokens of every image of a batch."""

    @abstractmethod
    def rows_per_image(self, grids: Sequence[Grid]) -> list[int]:
        """Count the output tokens of images with these grids.

        Raises:
            InputError: If the grids do not tell.
        """

    @abstractmethod
    def join(self, images: Sequence[Tensor]) -> Features:
        """Join the features of single images, at least one, into what ``forward`` returns for a batch."""

    @abstractmethod
    def blank(self) -> ImagesT:
        """Return a batch of one small image, for a process that has no image of its own."""

    @abstractmethod
    def grid_of_image(self, width: int, height: int) -> Grid:
        """Return about the grid that preprocessing makes of an image of that size in pixels.

        Raises:
            InputError: If preprocessing refuses the image.
        """
