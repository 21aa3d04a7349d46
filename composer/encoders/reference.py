"""What ``check_encoder`` needs to compare an encoder family with transformers' own class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from .aliases import FromTransformers
from .batch import Batch
from .facts import VisionEncoderInfo

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    Preprocess = Callable[[Sequence[np.ndarray[Any, Any]]], Mapping[str, Tensor]]

B = TypeVar("B", bound=Batch)
L = TypeVar("L")

_SIZES = ((64, 64), (40, 100), (90, 30))
"""Widths and heights of the images that are checked, before the image processor resizes them."""


class Sample(NamedTuple):
    """One image or clip to check an encoder with.

    Attributes:
        inputs: The encoder's inputs for this image alone.
        size: Width, height and frames, with which the plan counts its tokens.
        resized: Whether that is the size of the pixels rather than that of an image as it comes.
    """

    inputs: Mapping[str, Tensor]
    size: tuple[int, int, int]
    resized: bool = False


class ReferenceFamily(ABC, Generic[B, L]):
    """The part of a family that tells how to call transformers' own class and read its output."""

    @abstractmethod
    def tokens(self, model: FromTransformers, hidden_states: Tensor, layout: L) -> Tensor:
        """Return a hidden state as (..., tokens, hidden_size); see ``EncoderFamily``."""

    def reference_inputs(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return inputs of the tower as inputs of transformers' class."""
        return dict(inputs)

    def reference_tokens(self, model: FromTransformers, hidden_states: Tensor, layout: L) -> Tensor:
        """Return a hidden state of transformers' class in the form of :meth:`tokens`."""
        return self.tokens(model, hidden_states, layout)

    def reference_output(self, output: FromTransformers, batch: B) -> Tensor:
        """Return the tower's own output as found in the output of transformers' class.

        Args:
            output: What transformers' class returned.
            batch: The images that it was called with.

        Returns:
            (images, tokens, width), or (tokens of all images, width). Padding may follow an image's tokens.
        """
        last: Tensor = output.last_hidden_state
        return last

    def samples(self, info: VisionEncoderInfo, preprocess: Preprocess) -> list[Sample]:
        """Make images of random pixels that can share a batch, and a clip if grids have frames."""
        return [sample_of_size(preprocess, *size) for size in _SIZES]

    def samples_alone(self, info: VisionEncoderInfo) -> list[Sample]:
        """Make further images, whose sizes cannot share a batch."""
        return []


def sample_of_size(preprocess: Preprocess, width: int, height: int) -> Sample:
    """Make an image of random pixels and preprocess it."""
    import torch

    noise = torch.randint(256, (height, width, 3), dtype=torch.uint8)
    return Sample(preprocess([noise.numpy()]), (width, height, 1))
