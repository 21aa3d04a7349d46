"""How an encoder family is held against transformers' own class."""

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
"""Widths and heights of images; what the encoder sees of them is for its image processor to say."""


class Sample(NamedTuple):
    """One image or clip to check an encoder with.

    Attributes:
        inputs: What the encoder is called with for it alone.
        size: Width, height and frames that the plan is asked for.
    """

    inputs: Mapping[str, Tensor]
    size: tuple[int, int, int]


class ReferenceFamily(ABC, Generic[B, L]):
    """What a family says of transformers' own class, beside how it runs it itself."""

    @abstractmethod
    def tokens(self, model: FromTransformers, hidden_states: Tensor, layout: L) -> Tensor:
        """A hidden state as (..., tokens, hidden_size); see ``EncoderFamily``."""

    def reference_inputs(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Inputs as transformers' class takes them."""
        return dict(inputs)

    def reference_tokens(self, model: FromTransformers, hidden_states: Tensor, layout: L) -> Tensor:
        """:meth:`tokens` of a hidden state of transformers' class."""
        return self.tokens(model, hidden_states, layout)

    def reference_output(self, output: FromTransformers, batch: B) -> Tensor:
        """The tower's own output in what transformers' class returned.

        Args:
            output: What the class returned.
            batch: What it was called with.

        Returns:
            (images, tokens, width), or (tokens of all images, width). Padding may stand behind the tokens of
            an image.
        """
        last: Tensor = output.last_hidden_state
        return last

    def samples(self, info: VisionEncoderInfo, preprocess: Preprocess) -> list[Sample]:
        """Images that can share a batch, of random pixels; a clip too where grids have frames."""
        return [sample_of_size(preprocess, *size) for size in _SIZES]

    def samples_alone(self, info: VisionEncoderInfo) -> list[Sample]:
        """Further images, of sizes that can share no batch."""
        return []


def sample_of_size(preprocess: Preprocess, width: int, height: int) -> Sample:
    """An image of random pixels, through the encoder's image processor."""
    import torch

    noise = torch.randint(256, (height, width, 3), dtype=torch.uint8)
    return Sample(preprocess([noise.numpy()]), (width, height, 1))
