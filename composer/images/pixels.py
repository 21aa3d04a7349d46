"""An image processor in two halves: 8-bit pixels on the CPU, and arithmetic on any device."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .image_steps import ImageSteps
from .levels import Levels
from .patch_order import PatchOrder
from .processors import Process, grey_values, load_image_processor, trial_image
from .reading import Arrays, ReadImage
from .resampling import resize
from .rules import resized_first
from .settings import ProcessorSettings
from .steps import Steps

if TYPE_CHECKING:
    from transformers.image_processing_backends import PilBackend

    from .resize import ResizeRule


@dataclass(frozen=True)
class ProcessorSteps:
    """An image through a processor of transformers.

    Attributes:
        processor: The processor, whole or without its arithmetic.
        process: Makes the inputs of an image with it.
        size: Gives the size to which an image is resized before; None if the processor resizes by itself.
        resample: Pillow's filter for that.
    """

    processor: PilBackend
    process: Process
    size: Callable[[int, int], tuple[int, int]] | None = None
    resample: int = Image.Resampling.BILINEAR

    def __call__(self, image: Image.Image) -> Arrays:
        """Return the inputs of an image in RGB or grey."""
        import torch

        if self.size is not None:
            # As the processor resizes, but without turning the image into an array and back before.
            pixels = resize(image, self.size(*image.size), self.resample)
            image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
        with torch.device("cpu"):  # processors make tensors without naming a device
            return self.process(self.processor, image)


@dataclass(frozen=True)
class SplitProcessor:
    """An image processor in two halves, or whole.

    Attributes:
        processor: The processor whole.
        read: What the CPU does: all of it where there are no levels.
        levels: The arithmetic; None if the processor cannot be split.
    """

    processor: PilBackend
    read: ReadImage
    levels: Levels | None


def split_processor(
    settings: ProcessorSettings, resize: ResizeRule, process: Process, *, num_channels: int = 3
) -> SplitProcessor:
    """Load an image processor, and split it if its arithmetic is on 8-bit pixels, each by itself.

    Whether it is shows in images that go both ways: there are levels only if the results are equal to the
    bit. If Pillow's own steps make them equal, too, the processor is not asked any more.

    Args:
        settings: Its class and values.
        resize: The sizes it will choose.
        process: Makes the inputs of an image with it.
        num_channels: Of the images that it is given: 3, or 1 for grey.

    Raises:
        WeightsError: If its values do not work, or the pixels are not finite.
        MissingDependencyError: If the installed transformers has the class for another library only.
    """
    image = trial_image(num_channels)
    processor, wanted = load_image_processor(settings, resize, process, image)
    whole = ProcessorSteps(processor, process)
    if isinstance(resize, Steps) and resize.padded:
        return SplitProcessor(processor, whole, None)  # it pads behind the arithmetic, and not every image
    order = PatchOrder.of(processor) if hasattr(processor, "patchify") else None
    size = resized_first(settings.type, resize) if vars(processor)["do_resize"] else None
    known = settings.processor_class
    # A processor without a choice of filters resizes with its own, whatever a checkpoint says.
    resample = (settings.values if "resample" in known.keys else known.defaults).get("resample")
    resample = Image.Resampling.BILINEAR if resample is None else resample
    levels = Levels.of(
        processor, order, num_channels, **(grey_values(processor) if num_channels == 1 else {})
    )
    split = ProcessorSteps(without_arithmetic(processor, order, resize=size is None), process, size, resample)
    if not _agree(split(image), levels, wanted):
        return SplitProcessor(processor, whole, None)
    steps = _steps(resize, size, resample, order)
    if steps is not None and all(_same(steps(each), split(each)) for each in (image, image.resize((31, 97)))):
        return SplitProcessor(processor, steps, levels)
    return SplitProcessor(processor, split, levels)


def _steps(
    resize: ResizeRule,
    size: Callable[[int, int], tuple[int, int]] | None,
    resample: int,
    order: PatchOrder | None,
) -> ImageSteps | None:
    """Return the steps that Pillow would take; None if more than these is known to happen to an image."""
    if not isinstance(resize, Steps):
        return None if size is None else ImageSteps(resize, resample, None, order)
    if resize.squares or resize.pads:
        return None
    return ImageSteps(None if size is None else resize, resample, resize.crop, order)


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


def _same(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == array.dtype and np.array_equal(one[name], array) for name, array in other.items()
    )
