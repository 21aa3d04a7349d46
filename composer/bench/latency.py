"""How long callers wait for their images when so many come in a second."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from ..batcher import Batcher
from ..errors import InputError
from ..vision_encoder import VisionEncoder
from .jpeg import jpeg
from .measure import device_name

SIZES = ((640, 480),)
"""Width and height in pixels of the JPEGs, unless others are asked for."""


@dataclass(frozen=True)
class LatencyResult:
    """What callers waited.

    Attributes:
        images: Width and height of the JPEGs, which take turns.
        device: Where the encoder ran.
        rate: Images that were to come in a second, at random moments.
        seconds: What each image waited, from the moment it was to come to its features: a caller who comes
            while others are served waits for them, too.
        forwards: How many forwards the images took.
        span: Seconds from the first image to the last features.
    """

    images: tuple[tuple[int, int], ...]
    device: str
    rate: float
    seconds: tuple[float, ...]
    forwards: int
    span: float

    def percentile(self, share: float) -> float:
        """The seconds that ``share`` of the images, in per cent, waited at most."""
        return float(np.percentile(self.seconds, share))

    @property
    def served(self) -> float:
        """Images that were done in a second; below ``rate``, the encoder cannot keep up."""
        return len(self.seconds) / self.span

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values: the attributes, the percentiles 50, 90 and 99, and the images a second."""
        percentiles = {f"p{share}": self.percentile(share) for share in (50, 90, 99)}
        return {**asdict(self), **percentiles, "served": self.served}


def measure_latency(
    encoder: VisionEncoder,
    *,
    rate: float,
    number: int = 200,
    images: Sequence[tuple[int, int]] = (),
    batching: Mapping[str, Any] | None = None,
) -> LatencyResult:
    """Have images come at random moments and measure what each waits for its features.

    The moments are those of a Poisson process, the same in every run. A few images come before, uncounted.

    Args:
        encoder: What encodes.
        rate: Images a second, on average.
        number: How many images come.
        images: Width and height of the JPEGs; default: 640 x 480.
        batching: Arguments of :class:`~vision_composer.Batcher`.

    Raises:
        InputError: If ``rate`` is not above 0, or no image comes.
        ImageError: If the encoder refuses an image of such a size.
    """
    if not 0 < rate < float("inf") or number < 1:
        raise InputError(f"{number} images at {rate} a second measure nothing; both must be above 0")
    sizes = tuple(images or SIZES)
    files = [jpeg(*size) for size in sizes]
    moments = np.random.default_rng(0).exponential(1 / rate, number).cumsum()
    forwards: list[int] = []
    hook = encoder.register_forward_hook(lambda *_: forwards.append(1))
    try:
        with Batcher(encoder, **(batching or {})) as batcher:
            for file in files * 2:
                batcher.submit(file).result()
            forwards.clear()
            ends = [0.0] * number
            futures = []
            start = time.perf_counter()
            for i, moment in enumerate(moments):
                time.sleep(max(0.0, start + moment - time.perf_counter()))
                future = batcher.submit(files[i % len(files)])
                future.add_done_callback(partial(_note, ends, i))
                futures.append(future)
            for future in futures:
                future.result()
    finally:
        hook.remove()
    waited = tuple(end - start - moment for end, moment in zip(ends, moments, strict=True))
    return LatencyResult(
        sizes, device_name(encoder.device), rate, waited, len(forwards), max(ends) - start - moments[0]
    )


def _note(ends: list[float], number: int, done: Future[Any]) -> None:
    ends[number] = time.perf_counter()
