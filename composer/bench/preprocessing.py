"""Preprocessing beside transformers' own image processor, on Pillow, in one thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image

from ..encoders import family_of
from ..errors import BackendError
from ..images import compiled
from ..images.image_steps import ImageSteps
from ..planning import only_tower, plan
from ..schemas import AnyConfig
from .jpeg import jpeg
from .measure import device_name, interleaved

SIZES = ((1280, 960),)
"""Width and height in pixels of the JPEGs, unless others are asked for."""


@dataclass(frozen=True)
class PreprocessResult:
    """What both took from the files to the tower's inputs.

    Attributes:
        processor: The image processor.
        images: Width and height of the JPEGs.
        device: The CPU.
        numba: Whether what numba compiles was used; without that extra, Pillow resizes.
        ours: Seconds of each round.
        theirs: Seconds of transformers' processor, called with each image as Pillow decodes it.
        pillow: Seconds of Pillow alone to decode the images and resize them, which both have it do; empty
            if the processor resizes in another way.
    """

    processor: str
    images: tuple[tuple[int, int], ...]
    device: str
    numba: bool
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    pillow: tuple[float, ...] = ()

    @property
    def speed(self) -> float:
        """How many times as fast ours is, by medians."""
        return median(self.theirs) / median(self.ours)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values: the attributes, and the speed."""
        return {**asdict(self), "speed": self.speed}


def compare_preprocessing(
    source: str | Path | Mapping[str, Any] | AnyConfig,
    *,
    images: Sequence[tuple[int, int]] = (),
    rounds: int = 5,
) -> PreprocessResult:
    """Time both from JPEG files to the same float32 pixels; weights are not read.

    Args:
        source: Whatever ``plan`` takes.
        images: Width and height of the JPEGs; default: one of 1280 x 960.
        rounds: How often each is timed.

    Raises:
        InputError: If there is not even one round.
        ImageError: If the encoder refuses an image of such a size.
        BackendError: If the pixels are not the same.
    """
    made = only_tower(plan(source))
    preprocessor = family_of(made.encoder).preprocessor(made.encoder, made.processor)
    sizes, threads = tuple(images or SIZES), torch.get_num_threads()

    def theirs() -> list[torch.Tensor]:
        batches = []
        for path in paths:
            with Image.open(path) as image:
                batch = preprocessor.processor(image.convert("RGB"), return_tensors="pt")
            batches.append(batch["pixel_values"])
        return batches

    def ours() -> list[torch.Tensor]:
        return [preprocessor([path])["pixel_values"] for path in paths]

    def pillow() -> None:
        for path in paths:
            with Image.open(path) as image:
                image.resize(steps.size(*image.size), steps.resample)

    steps: Any = preprocessor.reader.read
    resizes_once = steps.rule if isinstance(steps, ImageSteps) else getattr(steps, "size", None)
    runs = [ours, theirs, *([pillow] if resizes_once else [])]
    numba = compiled.load()
    torch.set_num_threads(1)
    try:
        with TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{i}.jpg" for i in range(len(sizes))]
            for path, size in zip(paths, sizes, strict=True):
                path.write_bytes(jpeg(*size))
            for got, wanted in zip(ours(), theirs(), strict=True):
                if not torch.equal(got.flatten(), wanted.float().flatten()):
                    raise BackendError(f"{made.processor.type}: the pixels differ from those of transformers")
            seconds = interleaved(runs, rounds, torch.device("cpu"))
    finally:
        torch.set_num_threads(threads)
    return PreprocessResult(made.processor.type, sizes, device_name(torch.device("cpu")), numba, *seconds)
