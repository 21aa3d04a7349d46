"""Images of many callers in shared forwards: what a server puts in front of an encoder."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from threading import Condition, Thread
from time import monotonic
from typing import Self

from torch import Tensor

from .errors import ImageError, InputError
from .images.decode import ImageLike, image_name, open_image
from .images.preprocess import Read
from .running.finite import NOT_FINITE, not_finite
from .vision_encoder import VisionEncoder


@dataclass(frozen=True, slots=True)
class _Read:
    """An image that was read and waits for its forward."""

    name: str
    inputs: Read
    patches: int
    features: Future[Tensor]
    since: float


class Batcher:
    """Encodes the images of many callers, several in a forward.

    Threads read the images that are submitted, and one more runs the forwards, in evaluation mode. A forward
    starts when the images that were read fill it, or the first of them has waited long enough. Images that
    wait are bounded: no more are read while two forwards' worth wait. Used in a ``with`` statement, or closed
    with :meth:`close`.

    An image's features are those of ``encoder.encode``, within the rounding that other images in the forward
    make. Only its own caller gets the error of an image.

    Args:
        encoder: What encodes. It must not spread images over processes.
        max_tokens: Patches of all images of a forward at most; an image of more has a forward of its own.
        max_wait: Seconds that an image waits for others at most.
        readers: Threads that read images.

    Raises:
        InputError: If an argument is out of range, the tower takes no colours, or the encoder spreads images
            over processes.
    """

    def __init__(
        self, encoder: VisionEncoder, *, max_tokens: int = 8192, max_wait: float = 0.005, readers: int = 4
    ) -> None:
        if max_tokens < 1 or readers < 1:
            raise InputError(f"max_tokens is {max_tokens} and readers is {readers}; both must be at least 1")
        if not 0 <= max_wait < 60:
            raise InputError(f"max_wait is {max_wait} seconds; it must be from 0 to below 60")
        if encoder.parallel is not None:
            raise InputError(
                "the encoder spreads images over processes; give every process a Batcher of its own"
            )
        encoder.preprocessor.reader.check_channels()
        self._encoder, self._preprocessor = encoder, encoder.preprocessor
        self._max_tokens, self._max_wait = max_tokens, max_wait
        self._waiting: deque[_Read] = deque()
        self._changed = Condition()
        self._closed = self._all_read = False
        self._numbers = count()
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="vision-composer reader")
        self._runner = Thread(target=self._run, name="vision-composer forwards", daemon=True)
        self._runner.start()

    def submit(self, image: ImageLike | bytes) -> Future[Tensor]:
        """Return the features that the image will have, without waiting for them.

        Args:
            image: A path, the bytes of an image file, a PIL image, or a uint8 array (height, width[,
                channels]).

        Returns:
            A future of the features, (tokens, width), on the encoder's device. Its exception is an
            :class:`ImageError` if the image cannot be read or its features are NaN or infinite. Cancelled
            before the image is read, it costs nothing. ``asyncio.wrap_future`` makes it one to await.

        Raises:
            InputError: If the batcher is closed.
        """
        features: Future[Tensor] = Future()
        with self._changed:
            if self._closed:
                raise InputError("the batcher is closed and takes no more images")
            name = image_name(image, f"image {next(self._numbers)}")
            self._readers.submit(self._read, image, name, features)
        return features

    def close(self) -> None:
        """Finish the images that were submitted, and take no more."""
        with self._changed:
            self._closed = True
        self._readers.shutdown()
        with self._changed:
            self._all_read = True
            self._changed.notify_all()
        self._runner.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read(self, image: ImageLike | bytes, name: str, features: Future[Tensor]) -> None:
        if not features.set_running_or_notify_cancel():
            return
        try:
            inputs = self._preprocessor.reader.opened(open_image(image, name=name), name)
            values = self._preprocessor.num_values(inputs)
        except Exception as error:
            features.set_exception(error)
            return
        patches = max(1, values // self._encoder.plan.values_per_patch)
        with self._changed:
            self._changed.wait_for(lambda: self._patches < 2 * self._max_tokens)
            self._waiting.append(_Read(name, inputs, patches, features, monotonic()))
            self._changed.notify_all()

    @property
    def _patches(self) -> int:
        return sum(image.patches for image in self._waiting)

    def _run(self) -> None:
        with self._encoder.evaluating():
            while batch := self._next_batch():
                self._encode(batch)

    def _next_batch(self) -> list[_Read]:
        """Wait for images and take those of one forward; none when all are done."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._all_read)
            while self._waiting and self._patches < self._max_tokens and not self._all_read:
                left = self._waiting[0].since + self._max_wait - monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            batch: list[_Read] = []
            patches = 0
            while self._waiting and (not batch or self._fits(batch[0], patches)):
                batch.append(self._waiting.popleft())
                patches += batch[-1].patches
            self._changed.notify_all()
        return batch

    def _fits(self, first: _Read, patches: int) -> bool:
        following = self._waiting[0]
        return patches + following.patches <= self._max_tokens and self._preprocessor.share(
            first.inputs, following.inputs
        )

    def _encode(self, batch: list[_Read]) -> None:
        try:
            inputs = self._preprocessor.finish([image.inputs for image in batch], self._encoder.device)
            output = self._encoder(**inputs)
            wrong = not_finite(output)
            results = [row.clone() for row in output]
        except Exception as error:
            if len(batch) == 1:
                batch[0].features.set_exception(error)
                return
            for image in batch:  # so that what is wrong with one is no other caller's error
                self._encode([image])
            return
        for i, (image, row) in enumerate(zip(batch, results, strict=True)):
            if i in wrong:
                image.features.set_exception(ImageError(image.name, NOT_FINITE))
            else:
                image.features.set_result(row)
