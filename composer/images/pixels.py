"""An image processor in two halves: 8-bit pixels on the CPU, and arithmetic on any device."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .levels import Levels
from .patch_order import PatchOrder
from .processors import Arrays, Process, grey_values, load_image_processor, trial_image
from .rules import resized_first
from .settings import ProcessorSettings
from .steps import Steps

if TYPE_CHECKING:
    from transformers.image_processing_backends import PilBackend

    from .resize import ResizeRule


@dataclass(frozen=True)
class Halves:
    """The halves of a processor.

    Attributes:
        processor: The processor without its arithmetic, and without its resize if that is done before it.
        levels: The arithmetic.
        size: Gives the size to which an image is resized before the processor; None if it resizes by itself.
        resample: Pillow's filter for that.
    """

    processor: PilBackend
    levels: Levels
    size: Callable[[int, int], tuple[int, int]] | None = None
    resample: int = Image.Resampling.BILINEAR

    def read(self, image: Image.Image, process: Process) -> Arrays:
        """Return an RGB image's inputs with 8-bit pixels; :class:`Levels` does the rest."""
        if self.size is not None:
            # As the processor resizes, but without turning the image into an array and back before.
            image = image.resize(self.size(*image.size), self.resample)
        return process(self.processor, image)


def load_halves(
    settings: ProcessorSettings, resize: ResizeRule, process: Process, *, num_channels: int = 3
) -> tuple[PilBackend, Halves | None]:
    """Load an image processor, and split it if its arithmetic is on 8-bit pixels, each by itself.

    Whether it is shows in an image that goes both ways: there are halves only if the results are equal to
    the bit.

    Args:
        settings: Its class and values.
        resize: The sizes it will choose.
        process: Makes the inputs of an image with it.
        num_channels: Of the images that it is given: 3, or 1 for grey.

    Returns:
        The processor whole, and its halves.

    Raises:
        WeightsError: If its values do not work, or the pixels are not finite.
        MissingDependencyError: If the installed transformers has the class for another library only.
    """
    image = trial_image(num_channels)
    processor, wanted = load_image_processor(settings, resize, process, image)
    if isinstance(resize, Steps) and resize.padded:
        return processor, None  # it pads behind the arithmetic, and not every image
    order = PatchOrder.of(processor) if hasattr(processor, "patchify") else None
    size = resized_first(settings.type, resize) if vars(processor)["do_resize"] else None
    known = settings.processor_class
    # A processor without a choice of filters resizes with its own, whatever a checkpoint says.
    resample = (settings.values if "resample" in known.keys else known.defaults).get("resample")
    halves = Halves(
        without_arithmetic(processor, order, resize=size is None),
        Levels.of(processor, order, num_channels, **(grey_values(processor) if num_channels == 1 else {})),
        size,
        Image.Resampling.BILINEAR if resample is None else resample,
    )
    return processor, halves if _agree(halves.read(image, process), halves.levels, wanted) else None


def without_arithmetic(
    processor: PilBackend, order: PatchOrder | None = None, *, resize: bool = True
) -> PilBackend:
    """Return a copy of a processor that leaves pixels as they are, and images at their size if so told."""
    twin: Any = copy.copy(processor)
    twin.do_rescale = twin.do_normalize = False
    twin.do_resize = twin.do_resize and resize
    if order is not None:
        twin.patchify = order.patchify
    return twin  # type: ignore[no-any-return]  # a copy of its class


def _agree(read: Arrays, levels: Levels, wanted: Arrays) -> bool:
    import torch

    if read["pixel_values"].dtype != np.uint8:
        return False
    ours = levels({name: torch.from_numpy(array) for name, array in read.items()})
    return ours.keys() == wanted.keys() and all(
        np.array_equal(ours[name].numpy(), array) for name, array in wanted.items()
    )
