"""Batches through the encoder: to its device ahead of time, and features back while the next batch runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, VisionComposerError
from ..running.finite import NOT_FINITE
from .batches import Ready
from .encoded import Encoded, Failed
from .plan import StoreDtype
from .pooling import Pooler

if TYPE_CHECKING:
    from ..vision_encoder import VisionEncoder


@dataclass(frozen=True)
class Batch:
    """Images and their inputs together, on the encoder's device or on the way to it."""

    images: Sequence[Ready]
    grids: Sequence[tuple[int, int, int]]
    inputs: Mapping[str, Tensor]
    arrived: Any = None


@dataclass(frozen=True)
class _Leaving:
    """Features on their way to the CPU, all images' one after the other, and which are finite."""

    images: Sequence[Ready]
    grids: Sequence[tuple[int, int, int]]
    features: Tensor
    num_tokens: Sequence[int]
    num_rows: Sequence[int]
    finite: Tensor
    arrived: Any


class Forward:
    """Runs batches.

    Args:
        encoder: In evaluation mode while batches run.
        store_dtype: What the features become.
        pooler: What they go through before.
    """

    def __init__(self, encoder: VisionEncoder, store_dtype: StoreDtype, pooler: Pooler | None) -> None:
        self._encoder = encoder
        self._store_dtype = store_dtype
        self._dtype: torch.dtype = getattr(torch, store_dtype)
        self._pooler = pooler
        cuda = encoder.device.type == "cuda"
        # torch leaves the stream untyped.
        self._copies = torch.cuda.Stream(encoder.device) if cuda else None  # type: ignore[no-untyped-call]
        self._leaving: _Leaving | None = None

    def load(self, images: Sequence[Ready]) -> Batch:
        """Join images into a batch and send it to the device; called from another thread than the rest.

        Raises:
            InputError: If they make no batch.
        """
        with torch.no_grad(), torch.cuda.stream(self._copies):  # of None: as it is
            read = [image.inputs for image in images]
            inputs = self._encoder.preprocessor.finish(read, self._encoder.device)
            grids = self._encoder.image_grids(inputs)
            return Batch(images, grids, inputs, self._copies.record_event() if self._copies else None)

    def run(self, batch: Batch) -> list[Encoded | Failed]:
        """Run a batch, and return the results of the batch before it."""
        try:
            left = self._start(batch)
        except InputError as error:
            done = self.finish()
            if len(batch.images) == 1:
                return [*done, failed(batch.images[0], str(error))]
            for image in batch.images:  # one of them does not fit; the others shall not suffer for it
                done += self.alone(image)
            return done
        except torch.OutOfMemoryError as error:
            raise VisionComposerError(
                f"{len(batch.images)} images at once do not fit in memory: choose a smaller batch size, or "
                f"fewer tokens for a batch ({error})"
            ) from error
        done = self.finish()
        self._leaving = left
        return done

    def alone(self, image: Ready) -> list[Encoded | Failed]:
        """Run one image by itself."""
        try:
            batch = self.load([image])
        except InputError as error:
            return [failed(image, str(error))]
        return [*self.run(batch), *self.finish()]

    def _start(self, batch: Batch) -> _Leaving:
        if batch.arrived is not None:
            now = torch.cuda.current_stream()
            now.wait_event(batch.arrived)
            for tensor in batch.inputs.values():
                if tensor.is_cuda:  # grids and masks are not
                    tensor.record_stream(now)
        output = self._encoder(**batch.inputs)
        rows = list(output)
        num_tokens = [len(row) for row in rows]
        if self._pooler is not None:
            rows = [self._pooled(row) for row in rows]
        whole = output.dim() == 3 if isinstance(output, Tensor) and self._pooler is None else False
        stored = (output if whole else torch.cat(rows)).to(self._dtype)
        num_rows = [len(row) for row in rows]
        if whole:
            finite = stored.flatten(1).isfinite().all(1)
            stored = stored.flatten(0, 1)
        else:
            finite = torch.stack([part.isfinite().all() for part in stored.split(num_rows)])
        cuda = stored.is_cuda
        features = stored.to("cpu", non_blocking=cuda)
        finite = finite.to("cpu", non_blocking=cuda)
        arrived = torch.cuda.current_stream().record_event() if cuda else None
        return _Leaving(batch.images, batch.grids, features, num_tokens, num_rows, finite, arrived)

    def _pooled(self, features: Tensor) -> Tensor:
        assert self._pooler is not None
        pooled = self._pooler(features)
        if not isinstance(pooled, Tensor) or pooled.dim() not in (1, 2):
            raise VisionComposerError("a pooler must return a tensor (width,) or (rows, width)")
        return pooled[None] if pooled.dim() == 1 else pooled

    def finish(self) -> list[Encoded | Failed]:
        """Return the results of the last batch that was run."""
        left, self._leaving = self._leaving, None
        if left is None:
            return []
        if left.arrived is not None:
            left.arrived.synchronize()
        bits = left.features.contiguous()
        numbers: np.ndarray[Any, Any] = (
            bits.view(torch.int16).numpy().view(np.uint16) if bits.dtype == torch.bfloat16 else bits.numpy()
        )
        results: list[Encoded | Failed] = []
        for i, (image, (start, end)) in enumerate(
            zip(left.images, pairwise(accumulate(left.num_rows, initial=0)), strict=True)
        ):
            if not left.finite[i]:
                results.append(failed(image, _not_finite(self._store_dtype, self._encoder.plan.dtype)))
                continue
            row = image.row
            results.append(
                Encoded(
                    row=image.number,
                    id=row.id,
                    source=row.source,
                    size=image.size,
                    grid=left.grids[i],
                    num_tokens=left.num_tokens[i],
                    dtype=self._store_dtype,
                    features=numbers[start:end],
                )
            )
        return results


def failed(image: Ready, reason: str) -> Failed:
    """Return the failure of an image."""
    return Failed(image.number, image.row.id, image.row.source, reason)


def _not_finite(store_dtype: str, dtype: str) -> str:
    narrow = store_dtype == "float16" and dtype != "float16"
    return f"{NOT_FINITE}, or are too large to be stored as float16" if narrow else NOT_FINITE
