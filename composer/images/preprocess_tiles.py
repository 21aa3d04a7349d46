"""Images to the tiles that a tower encodes. Importing this module loads Pillow but not torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..errors import WeightsError
from .limits import MAX_PIXELS
from .pixels import ProcessorSteps, without_arithmetic
from .preprocess import ImagePreprocessor, Read
from .processors import uint8_or_float32
from .reading import Arrays, ImageReader
from .settings import ProcessorSettings
from .tiling import AnyTiling
from .whole import whole_image_processor

if TYPE_CHECKING:
    from torch import Tensor
    from transformers.image_processing_backends import PilBackend


class TileReader(ImageReader):
    """Images to tiles, with ``image_sizes`` to put them together again.

    Args:
        whole: Reads the image whole.
        tiling: How images are cut.
        processor: The image processor that cuts.
        split: Whether its arithmetic is left for later, as far as it cuts 8-bit pixels.
    """

    def __init__(self, whole: ImageReader, tiling: AnyTiling, processor: PilBackend, *, split: bool) -> None:
        self._complete = ProcessorSteps(processor, self._cut)
        bare = ProcessorSteps(without_arithmetic(processor), self._cut) if split else self._complete
        super().__init__(bare, whole.resize, num_channels=whole.num_channels, grey=whole.grey)
        self.tiling = tiling

    def arrays(self, image: Image.Image) -> Arrays:
        plan = self.tiling.plan(*image.size)
        if plan.num_tiles * self.tiling.side**2 > MAX_PIXELS:
            raise ValueError(f"it would be cut into {plan.num_tiles} tiles, too many for the limit of pixels")
        read = self.read  # of this moment: another thread may change it
        arrays = read(image)
        if read is not self._complete and arrays["pixel_values"].dtype != np.uint8:
            self.read = self._complete  # it puts tiles into an array of floats, with or without arithmetic
            arrays = self.read(image)
        if (tiles := len(arrays["pixel_values"])) != plan.num_tiles:
            raise ValueError(
                f"the image processor cut it into {tiles} tiles, but {plan.num_tiles} were planned"
            )
        return {**arrays, "image_sizes": np.array([image.size[::-1]])}

    def _cut(self, processor: PilBackend, image: Image.Image) -> Arrays:
        arrays = self.tiling.cut(processor, image)
        return {**arrays, "pixel_values": uint8_or_float32(arrays["pixel_values"])}


class TiledPreprocessor(ImagePreprocessor):
    """Images to the tiles of a tower, with ``image_sizes`` to put them together again.

    Args:
        whole: The preprocessor of the image whole, which joins and checks what the tower takes.
        tiling: How images are cut.
        settings: The image processor's values.

    Raises:
        WeightsError: If the values do not work for the processor that cuts.
    """

    reader: TileReader

    def __init__(self, whole: ImagePreprocessor, tiling: AnyTiling, settings: ProcessorSettings) -> None:
        cutting = cutting_processor(tiling, settings)
        levels = None if tiling.sizes_differ else whole.levels
        reader = TileReader(whole.reader, tiling, cutting, split=levels is not None)
        super().__init__(reader, cutting, levels)
        self.whole = whole

    def collate(self, batches: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        import torch

        tiles = [{key: value for key, value in batch.items() if key != "image_sizes"} for batch in batches]
        sizes = torch.cat([batch["image_sizes"] for batch in batches])
        return self.whole.collate(tiles) | {"image_sizes": sizes}

    def share(self, one: Read, other: Read) -> bool:
        return self.whole.share(one, other)


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
