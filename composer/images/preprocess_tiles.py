"""Images to the tiles that a tower encodes. Importing this module loads Pillow but not torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from .limits import MAX_PIXELS
from .preprocess import ImagePreprocessor
from .tiling import AnyTiling

if TYPE_CHECKING:
    from torch import Tensor

    from .processors import Arrays


class TiledPreprocessor(ImagePreprocessor):
    """Images to the tiles of a tower, with ``image_sizes`` to put them together again.

    Args:
        whole: The preprocessor of the image whole, which joins and checks what the tower takes.
        tiling: How images are cut.
    """

    def __init__(self, whole: ImagePreprocessor, tiling: AnyTiling) -> None:
        super().__init__(whole.processor, num_channels=whole.num_channels, resize=whole.resize)
        self.whole, self.tiling = whole, tiling

    def collate(self, batches: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        import torch

        tiles = [{key: value for key, value in batch.items() if key != "image_sizes"} for batch in batches]
        sizes = torch.cat([batch["image_sizes"] for batch in batches])
        return self.whole.collate(tiles) | {"image_sizes": sizes}

    def share(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
        return self.whole.share(one, other)

    def _check_channels(self) -> None:
        self.whole._check_channels()

    def _arrays(self, image: Image.Image) -> Arrays:
        plan = self.tiling.plan(*image.size)
        if plan.num_tiles * self.tiling.side**2 > MAX_PIXELS:
            raise ValueError(
                f"it would be cut into {plan.num_tiles} tiles, more than the limit of pixels allows"
            )
        arrays = self.tiling.cut(self.processor, image)
        if (tiles := len(arrays["pixel_values"])) != plan.num_tiles:
            raise ValueError(
                f"the image processor cut it into {tiles} tiles, and {plan.num_tiles} were planned"
            )
        pixels = arrays["pixel_values"].astype(np.float32, copy=False)
        return {**arrays, "pixel_values": pixels, "image_sizes": np.array([image.size[::-1]])}
