"""Data parallelism of a composed tower: every rank encodes some of the images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from math import prod
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from PIL import Image
from torch import Tensor

from ..images.decode import ImageLike, size_of_image
from .balance import deal_by_cost, deal_by_size, deal_in_order
from .cost import CostModel
from .group import Report, together
from .outputs import (
    Hands,
    OwnRows,
    batch_in_order,
    check_counts,
    exchange_counts,
    images_in_order,
    own_rows,
    start_gather,
    without_images,
)

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from ..encoder import ComposedVisionEncoder
    from ..encoders.layout import Grid
    from ..schemas import ParallelConfig

Features = Tensor | tuple[Tensor, ...]
"""A batch (images, tokens, width), or a tensor for each image."""


class DataParallel:
    """Runs a tower's images on the ranks of a group; ``encoder.parallel``, made by ``compose``.

    From then on the tower's forward is this one's: called on every rank, it returns every image's features
    on each. Gradients flow, to be averaged over ranks as DDP and FSDP do: see ``docs/distributed.md``.

    Args:
        tower: Composed for one process.
        group: The ranks.
        config: How images are dealt and gathered.
        cost: What an image costs.
        fingerprint: Of what must be the same on all ranks.
    """

    def __init__(
        self,
        tower: ComposedVisionEncoder,
        group: ProcessGroup,
        config: ParallelConfig,
        cost: CostModel,
        fingerprint: str,
    ) -> None:
        self.group, self.config, self.cost = group, config, cost
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        self._tower, self._fingerprint = tower, fingerprint
        # Whatever class the tower is of, its own forward is what runs this rank's images.
        self._encode: Callable[..., Features] = tower.forward
        tower.forward = self.forward  # type: ignore[method-assign, assignment]  # meant, for this tower alone

    def forward(self, pixel_values: Tensor | None = None, **inputs: Any) -> Features:
        """Encode a batch; see the tower's own ``forward`` for what it takes and returns.

        Args:
            pixel_values: As the tower takes them.
            **inputs: Its other inputs.

        Returns:
            Every image's features in input order, in memory of their own; with ``inputs: sharded`` those of
            rank 0's images, then rank 1's, and so on; with ``gather: none`` those of this rank's images.

        Raises:
            InputError: Anything that the tower cannot take.
            DistributedError: Another rank failed, is gone, or was called with something else.
        """
        return self.start(**({} if pixel_values is None else {"pixel_values": pixel_values}), **inputs).wait()

    def start(self, **inputs: Any) -> PendingFeatures:
        """Like :meth:`forward`, but returns as soon as features are on their way.

        Every rank must call ``wait()`` on what is returned.
        """
        tower = self._tower

        def take(own: Sequence[int]) -> Mapping[str, Any]:
            return tower.family.take(tower.info, inputs, own)

        def smallest(grids: Sequence[Grid]) -> Mapping[str, Any]:
            return take([min(range(len(grids)), key=lambda i: prod(grids[i]))])

        sharded = self.config.inputs == "sharded"
        return self._start(
            lambda: tower.image_grids(inputs),
            take,
            nothing=lambda: self._encode(**inputs),
            spare=self._made_up if sharded else smallest,
            sharded=sharded,
        )

    def encode_owned(
        self, grids: Sequence[Grid], load: Callable[[int], Mapping[str, Tensor]], *, exact: bool = True
    ) -> Features:
        """Encode images whose pixels are there only on the rank that encodes them.

        Args:
            grids: Frames, patch rows and patch columns of every image, the same on every rank.
            load: Makes the tower's inputs for one image, as its preprocessor does; called for the images of
                this rank, by their index.
            exact: Whether ``grids`` are those of the inputs; False: only about so, good for balancing.

        Returns:
            As :meth:`forward`.

        Raises:
            DistributedError: Another rank failed, is gone, or was called with something else.
        """

        def take(own: Sequence[int]) -> Mapping[str, Tensor]:
            batches = []
            for image in own:
                try:
                    batches.append(load(image))
                except Exception as error:
                    error.add_note(f"image {image}")
                    raise
            batch = self._tower.preprocessor.collate(batches)
            return {name: tensor.to(self._tower.device) for name, tensor in batch.items()}

        return self._start(
            lambda: grids, take, nothing=self._no_images, spare=self._made_up, exact=exact
        ).wait()

    def encode_images(self, pictures: Sequence[ImageLike], *, first: int = 0) -> Features:
        """Encode pictures, each opened by the rank that encodes it; of the others only the size is read.

        Args:
            pictures: As for ``encoder.encode``, the same on every rank.
            first: What the first picture without a path counts as in errors.
        """
        tower = self._tower
        return self.encode_owned(
            [self._image_grid(picture) for picture in pictures],
            lambda i: tower.preprocess([pictures[i]], first=first + i),
            exact=False,
        )

    def assign(self, grids: Sequence[Grid]) -> Hands:
        """Images of every rank, the same on all of them without a word between them."""
        if self.config.balance == "none":
            return deal_in_order(len(grids), self.size)
        if self.config.balance == "patches":
            return deal_by_size([t * h * w for t, h, w in grids], self.size)
        return deal_by_cost([self.cost(grid) for grid in grids], self.size)

    def _start(
        self,
        image_grids: Callable[[], Sequence[Grid]],
        take: Callable[[list[int]], Mapping[str, Any]],
        *,
        nothing: Callable[[], Features],
        spare: Callable[[Sequence[Grid]], Mapping[str, Any]],
        sharded: bool = False,
        exact: bool = True,
    ) -> PendingFeatures:
        """The one way that all calls go: deal, encode, agree, gather."""

        def encode() -> tuple[tuple[OwnRows, Hands, list[int]], Report]:
            grids = list(image_grids())
            planned = self._tower.rows_per_image(grids) if exact else []
            facts = {"config": self._fingerprint}
            if sharded:
                hands, mine = [], list(range(len(grids)))
            else:
                hands = self.assign(grids)
                mine = hands[self.rank]
                digest = sha256(repr(grids).encode()).hexdigest()[:8]
                facts["batch"] = f"{len(grids)} images, {digest}"
            if mine:
                own = self._own(mine, take)
            elif grids or sharded:
                own = OwnRows(without_images(self._tower, lambda: self._rows(spare(grids))), [])
            else:
                own = OwnRows(None, [])
            if exact:
                check_counts(own.counts, mine, [planned[i] for i in mine])
            return (own, hands, planned), own.report(facts)

        (own, hands, planned), reports = together(self.group, encode, what="encode images")
        if not any(report.count for report in reports):
            return PendingFeatures(nothing)
        if self.config.gather == "none":
            rows = own_rows(own, reports, self._tower.device)
            here = [list(range(len(own.counts)))]
            return PendingFeatures(lambda: self._unpacked([rows], here, [own.counts]))
        if sharded:
            hands = _one_after_the_other([report.count for report in reports])
        if sharded or not exact:
            counts = exchange_counts(own.counts, [len(hand) for hand in hands], self.group)
        else:
            counts = [[planned[i] for i in hand] for hand in hands]
        gather = start_gather(own, counts, reports, self.group, self._tower.device, async_op=True)
        return PendingFeatures(lambda: self._unpacked(gather.wait(), hands, counts))

    def _own(self, images: list[int], take: Callable[[list[int]], Mapping[str, Any]]) -> OwnRows:
        """Features of this rank's images."""
        inputs = take(images)
        try:
            return _packed(self._encode(**inputs))
        except Exception as error:
            error.add_note(f"in a batch of images {', '.join(map(str, images))}")
            raise

    def _rows(self, inputs: Mapping[str, Any]) -> Tensor:
        rows = _packed(self._encode(**inputs)).rows
        return torch.empty(0) if rows is None else rows

    def _made_up(self, grids: Sequence[Grid] = ()) -> dict[str, Tensor]:
        """Inputs of a small image that nobody sees."""
        tower, info = self._tower, self._tower.info
        if info.ragged:
            return tower.preprocess([Image.new("RGB", (info.patch_size * info.merge_size,) * 2)])
        side = info.image_size
        return {"pixel_values": torch.zeros(1, info.num_channels, side, side, device=tower.device)}

    def _no_images(self) -> Features:
        return () if self._tower.info.ragged else self._rows(self._made_up())[:0]

    def _image_grid(self, picture: ImageLike) -> Grid:
        info = self._tower.info
        if not info.ragged:
            return 1, info.patch_grid_length, info.patch_grid_length
        size = size_of_image(picture)
        try:
            return info.grid(*size) if size else (1, 1, 1)
        except ValueError:  # too thin: the rank that opens it will say so
            return 1, 1, 1

    def _unpacked(self, parts: Sequence[Tensor], hands: Hands, counts: Sequence[Sequence[int]]) -> Features:
        if not self._tower.info.ragged:
            return batch_in_order(parts, hands)
        images = images_in_order(parts, hands, counts)
        return tuple(image.movedim(0, -2).contiguous() for image in images)


class PendingFeatures:
    """Features that are still on their way."""

    def __init__(self, finish: Callable[[], Features]) -> None:
        self._finish = finish
        self._features: Features | None = None

    def wait(self) -> Features:
        """The features, as :meth:`DataParallel.forward` returns them."""
        if self._features is None:
            self._features = self._finish()
        return self._features


def _packed(features: Features) -> OwnRows:
    """A tower's output as rows: images of a batch, or tokens of images of different sizes."""
    if isinstance(features, Tensor):
        return OwnRows(features, [1] * len(features))
    parts = [image.movedim(-2, 0) for image in features]
    return OwnRows(torch.cat(parts) if parts else None, [len(part) for part in parts])


def _one_after_the_other(counts: Sequence[int]) -> Hands:
    hands: Hands = []
    for count in counts:
        start = sum(map(len, hands))
        hands.append(list(range(start, start + count)))
    return hands
