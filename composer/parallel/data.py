"""Data parallelism of a tower: every rank encodes some of the images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from math import prod
from operator import itemgetter
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup

from ..encoders.batch import Images
from ..encoders.facts import Grid
from ..errors import ImageError
from ..images.decode import Clip, ImageLike, image_name, size_of_image
from ..images.preprocess import Preprocessor, Read
from ..running.finite import NOT_FINITE, not_finite
from ..schemas import ParallelConfig
from ..tower.base import Features, VisionModule
from .balance import assign_by_cost, assign_by_size, assign_in_order
from .group import Report, together
from .outputs import (
    Assignment,
    OwnRows,
    check_counts,
    exchange_counts,
    images_in_order,
    own_rows,
    start_gather,
    without_images,
)

_WHAT = "encode images"


class DataParallel:
    """Runs a tower's batches on the ranks of a group, and returns every image's features on each.

    Gradients flow, to be averaged over ranks as DDP and FSDP do: see ``docs/distributed.md``.

    Args:
        tower: Runs a batch on this rank.
        preprocessor: Makes inputs of images.
        group: The ranks.
        config: How images are dealt and gathered.
        cost: What an image costs.
        fingerprint: Of what must be the same on all ranks.
    """

    def __init__(
        self,
        tower: VisionModule[Any],
        preprocessor: Preprocessor,
        group: ProcessGroup,
        config: ParallelConfig,
        cost: Callable[[Grid], int],
        fingerprint: str,
    ) -> None:
        self.group, self.config, self.cost = group, config, cost
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        self._tower, self._preprocessor, self._fingerprint = tower, preprocessor, fingerprint

    def start(self, **inputs: Any) -> PendingFeatures:
        """Encode a batch, and return as soon as features are on their way.

        Every rank must call ``wait()`` on what is returned: every image's features in input order, in memory
        of their own; with ``inputs: sharded`` those of rank 0's images, then rank 1's, and so on; with
        ``gather: none`` those of this rank's images.

        Args:
            **inputs: As the encoder takes them.

        Raises:
            InputError: If the tower cannot take the inputs.
            DistributedError: If another rank failed, is gone, or was called with something else.
        """
        read: list[Images] = []

        def grids() -> Sequence[Grid]:
            read.append(self._tower.read(inputs))
            return read[0].grids

        sharded = self.config.inputs == "sharded"
        return self._start(
            grids,
            lambda images: read[0].take(images),
            nothing=lambda: read[0].take([]),
            spare=self._blank if sharded else lambda: read[0].take([_smallest(read[0].grids)]),
            planned=lambda _: self._tower.rows_of_batch(read[0]),
        )

    def encode_owned(
        self,
        grids: Sequence[Grid],
        load: Callable[[int], Read],
        *,
        exact: bool = True,
        name: Callable[[int], str] | None = None,
    ) -> Features:
        """Encode images whose pixels are there only on the rank that encodes them.

        Args:
            grids: Frames, patch rows and patch columns of every image, the same on every rank; with
                ``inputs: sharded`` of this rank's images.
            load: Makes the inputs of one image, or reads it, as the preprocessor does; called for this rank's
                images, by their index.
            exact: Whether ``grids`` are those of the inputs; False: only about so, good for balancing.
            name: What an image is called, by its index. Features that are NaN or infinite are then an error.

        Returns:
            As ``wait()`` of :meth:`start`.

        Raises:
            ImageError: If features of this rank's images are NaN or infinite, where they have names.
            DistributedError: If another rank failed, is gone, or was called with something else.
        """

        def take(images: Sequence[int]) -> Images:
            loaded = []
            for image in images:
                try:
                    loaded.append(load(image))
                except Exception as error:
                    error.add_note(f"image {image}")
                    raise
            read: Images = self._tower.read(self._preprocessor.finish(loaded, self._tower.device))
            return read

        return self._start(
            lambda: grids,
            take,
            nothing=lambda: self._blank().take([]),
            spare=self._blank,
            planned=self._tower.rows_per_image if exact else None,
            name=name,
        ).wait()

    def encode_images(self, images: Sequence[ImageLike | Clip], *, batch_size: int) -> list[Tensor]:
        """Encode images, each opened by the rank that encodes it; of the others only the size is read.

        Every rank must call this, also one without images.

        Args:
            images: Paths, PIL images or uint8 arrays, and clips as lists of these. The same list on every
                rank; with ``inputs: sharded`` one of its own, of any length.
            batch_size: Images per batch and rank.

        Returns:
            A tensor for each image, in memory of its own: in the order of the list; with ``inputs: sharded``
            those of rank 0's list, then rank 1's, and so on; with ``gather: none`` those of the images that
            this rank encoded.

        Raises:
            ImageError: If an image of this rank cannot be read, or its features are NaN or infinite.
            DistributedError: As :meth:`encode_owned`, with the rank and the image; or if another rank has
                another list.
        """
        sharded = self.config.inputs == "sharded"
        step = batch_size if sharded else batch_size * self.size
        counts = self._agree_on_list(images, batch_size)
        found: list[tuple[int, Tensor]] = []
        for start in range(0, max(counts), step):
            features = self._encode_batch(images[start : start + step], first=start)
            if sharded and self.config.gather == "all":
                here = [range(start, min(count, start + step)) for count in counts]
                ranks = [rank for rank, own in enumerate(here) for _ in own]
            else:
                ranks = [self.rank] * len(features)
            found.extend(zip(ranks, (row.clone() for row in features), strict=True))
        return [row for _, row in sorted(found, key=itemgetter(0))]

    def _agree_on_list(self, images: Sequence[ImageLike | Clip], batch_size: int) -> list[int]:
        """Return how many images every rank was given; refuse lists that must be the same and are not."""
        facts = {"config": self._fingerprint, "batch size": str(batch_size)}
        if self.config.inputs == "replicated":
            names = [image_name(image, "") for image in images]
            facts["list of images"] = f"{len(names)} images, {_digest(names)}"
        report = Report(facts, count=len(images))
        _, reports = together(self.group, lambda: (None, report), what=_WHAT)
        return [report.count for report in reports]

    def _encode_batch(self, images: Sequence[ImageLike | Clip], *, first: int) -> Features:
        return self.encode_owned(
            [self._image_grid(image) for image in images],
            lambda i: self._preprocessor.read([images[i]], first=first + i)[0],
            exact=False,
            name=lambda i: image_name(images[i], f"image {first + i}"),
        )

    def assign(self, grids: Sequence[Grid]) -> Assignment:
        """Return the images of every rank, the same on all of them without a word between them."""
        if self.config.balance == "none":
            return assign_in_order(len(grids), self.size)
        if self.config.balance == "patches":
            return assign_by_size([t * h * w for t, h, w in grids], self.size)
        return assign_by_cost([self.cost(grid) for grid in grids], self.size)

    def _start(
        self,
        image_grids: Callable[[], Sequence[Grid]],
        take: Callable[[Sequence[int]], Images],
        *,
        nothing: Callable[[], Images],
        spare: Callable[[], Images],
        planned: Callable[[Sequence[Grid]], list[int]] | None = None,
        name: Callable[[int], str] | None = None,
    ) -> PendingFeatures:
        """Deal the images out, encode this rank's, agree, and gather: the one way that all calls go.

        Args:
            image_grids: The grids of all images, or of this rank's own.
            take: Some of the images, as a batch.
            nothing: A batch without images.
            spare: A batch of an image that a rank without images runs for its place in the graph.
            planned: Counts the rows of every image by its grid; None where the grids are not exact.
            name: What an image is called, where its features must be finite; None where they need not be.
        """
        sharded = self.config.inputs == "sharded"

        def encode() -> tuple[tuple[OwnRows, Assignment, list[int]], Report]:
            grids = list(image_grids())
            counts = [] if planned is None else planned(grids)
            facts = {"config": self._fingerprint}
            if sharded:
                assignment, mine = [], list(range(len(grids)))
            else:
                assignment = self.assign(grids)
                mine = assignment[self.rank]
                facts["batch"] = f"{len(grids)} images, {_digest(grids)}"
            if mine:
                own = self._own(mine, take, name)
            elif grids or sharded:
                own = OwnRows(without_images(self._tower, lambda: self._rows(spare())), [])
            else:
                own = OwnRows(None, [])
            if planned is not None:
                check_counts(own.counts, mine, [counts[i] for i in mine])
            return (own, assignment, counts), own.report(facts)

        (own, assignment, rows_of_all), reports = together(self.group, encode, what=_WHAT)
        if not any(report.count for report in reports):
            return PendingFeatures(lambda: self._tower(nothing()))
        if self.config.gather == "none":
            rows = own_rows(own, reports, self._tower.device)
            return PendingFeatures(lambda: self._joined(torch.split(rows, own.counts), nothing))
        if sharded:
            assignment = _one_after_the_other([report.count for report in reports])
        if sharded or planned is None:
            counts = exchange_counts(own.counts, [len(images) for images in assignment], self.group)
        else:
            counts = [[rows_of_all[i] for i in images] for images in assignment]
        gather = start_gather(own, counts, reports, self.group, self._tower.device, async_op=True)
        return PendingFeatures(
            lambda: self._joined(images_in_order(gather.wait(), assignment, counts), nothing)
        )

    def _own(
        self,
        images: list[int],
        take: Callable[[Sequence[int]], Images],
        name: Callable[[int], str] | None,
    ) -> OwnRows:
        """Encode this rank's images."""
        batch = take(images)
        try:
            features = self._tower(batch)
        except Exception as error:
            error.add_note(f"in a batch of images {', '.join(map(str, images))}")
            raise
        if name is not None and (wrong := not_finite(features)):
            raise ImageError(name(images[wrong[0]]), NOT_FINITE)
        return _rows_of(features)

    def _rows(self, batch: Images) -> Tensor:
        rows = _rows_of(self._tower(batch)).rows
        return torch.empty(0) if rows is None else rows

    def _blank(self) -> Images:
        """Return a small image that nobody sees."""
        blank: Images = self._tower.blank()
        return blank

    def _image_grid(self, image: ImageLike | Clip) -> Grid:
        size = None if isinstance(image, (list, tuple, Iterator)) else size_of_image(image)
        try:
            return self._tower.grid_of_image(*size) if size else (1, 1, 1)
        except ValueError:  # too thin: the rank that opens it will say so
            return 1, 1, 1

    def _joined(self, images: Sequence[Tensor], nothing: Callable[[], Images]) -> Features:
        """Return every image's rows as the tower returns its features."""
        if not images:
            features: Features = self._tower(nothing())
            return features
        return self._tower.join([rows.movedim(0, -2) for rows in images])


class PendingFeatures:
    """Features that are still on their way."""

    def __init__(self, finish: Callable[[], Features]) -> None:
        self._finish = finish
        self._features: Features | None = None

    def wait(self) -> Features:
        """Return the features; see :meth:`DataParallel.start`."""
        if self._features is None:
            self._features = self._finish()
        return self._features


def _rows_of(features: Features) -> OwnRows:
    """Return a tower's features as rows, one for each token, image after image."""
    images = [image.movedim(-2, 0) for image in features]
    return OwnRows(torch.cat(images) if images else None, [len(image) for image in images])


def _digest(values: object) -> str:
    return sha256(repr(values).encode()).hexdigest()[:8]


def _smallest(grids: Sequence[Grid]) -> int:
    return min(range(len(grids)), key=lambda i: prod(grids[i]))


def _one_after_the_other(counts: Sequence[int]) -> Assignment:
    assignment: Assignment = []
    for count in counts:
        start = sum(map(len, assignment))
        assignment.append(list(range(start, start + count)))
    return assignment
