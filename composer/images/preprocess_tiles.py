"""Images to the tiles that a tower encodes. Importing this module loads Pillow but not torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..errors import WeightsError
from .limits import MAX_PIXELS
from .pixels import Halves, without_arithmetic
from .preprocess import ImagePreprocessor
from .processors import uint8_or_float32
from .settings import ProcessorSettings
from .tiling import AnyTiling
from .whole import whole_image_processor

if TYPE_CHECKING:
    from torch import Tensor
    from transformers.image_processing_backends import PilBackend

    from .processors import Arrays


class TiledPreprocessor(ImagePreprocessor):
    """Images to the tiles of a tower, with ``image_sizes`` to put them together again.

    Args:
        whole: The preprocessor of the image whole, which joins and checks what the tower takes.
        tiling: How images are cut.
        settings: The image processor's values.

    Raises:
        WeightsError: If the values do not work for the processor that cuts.
    """

    def __init__(self, whole: ImagePreprocessor, tiling: AnyTiling, settings: ProcessorSettings) -> None:
        cutting = cutting_processor(tiling, settings)
        halves = None
        if whole.halves is not None and not tiling.sizes_differ:
            halves = Halves(without_arithmetic(cutting), whole.halves.levels)
        super().__init__(cutting, whole.resize, num_channels=whole.num_channels, halves=halves)
        self.whole, self.tiling = whole, tiling

    def collate(self, batches: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        import torch

        tiles = [{key: value for key, value in batch.items() if key != "image_sizes"} for batch in batches]
        sizes = torch.cat([batch["image_sizes"] for batch in batches])
        return self.whole.collate(tiles) | {"image_sizes": sizes}

    def share(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
        return self.whole.share(one, other)

    def check_channels(self) -> None:
        self.whole.check_channels()

    def _arrays(self, image: Image.Image) -> Arrays:
        plan = self.tiling.plan(*image.size)
        if plan.num_tiles * self.tiling.side**2 > MAX_PIXELS:
            raise ValueError(f"it would be cut into {plan.num_tiles} tiles, too many for the limit of pixels")
        halves = self.halves  # of this moment: another thread may take it away
        arrays = self._process(self.processor if halves is None else halves.processor, image)
        if halves is not None and arrays["pixel_values"].dtype != np.uint8:
            self.halves = None  # it puts tiles into an array of floats, with or without arithmetic
            arrays = self._process(self.processor, image)
        if (tiles := len(arrays["pixel_values"])) != plan.num_tiles:
            raise ValueError(
                f"the image processor cut it into {tiles} tiles, but {plan.num_tiles} were planned"
            )
        return {**arrays, "image_sizes": np.array([image.size[::-1]])}

    def _process(self, processor: PilBackend, image: Image.Image) -> Arrays:
        arrays = self.tiling.cut(processor, image)
        return {**arrays, "pixel_values": uint8_or_float32(arrays["pixel_values"])}


def cutting_processor(tiling: AnyTiling, settings: ProcessorSettings) -> PilBackend:
    """Make the image processor with which a tiling cuts images, with a checkpoint's values.

    Raises:
        WeightsError: If it does not take the values.
    """
    import transformers

    if not tiling.processor:
        return whole_image_processor(settings)
    processor_class = getattr(transformers, f"{tiling.processor}Pil")
    known = processor_class.valid_kwargs.__annotations__
    values = {key: value for key, value in settings.values.items() if key in known}
    try:
        processor: PilBackend = processor_class(**values)
    except Exception as error:  # values of any type reach transformers' code
        message = f"{settings.name}: not a usable image processor config: {error}"
        raise WeightsError(message) from error
    return processor
