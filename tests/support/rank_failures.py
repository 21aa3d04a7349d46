"""What ranks do together in the tests of failures: whatever goes wrong on one is an error on all."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from support import tiny
from support.rank_towers import CLIP, QWEN, assert_same, keys, noise_image, pair, patches
from vision_composer import compose
from vision_composer.encoder import ComposedVisionEncoder
from vision_composer.errors import DistributedError, ImageError, InputError, WeightsError

Towers = tuple[ComposedVisionEncoder, ComposedVisionEncoder, dict[str, Tensor]]


@contextmanager
def next_call_works() -> Iterator[Towers]:
    """The towers and a good batch, of which the features are right after whatever went wrong."""
    alone, spread = pair(QWEN)
    good = patches(alone, [(1, 2, 2), (1, 3, 3), (1, 2, 4)])
    with torch.no_grad():
        yield alone, spread, good
        assert_same(spread(**good), alone(**good))


def another_batch() -> None:
    with next_call_works() as (alone, spread, good):
        other = patches(alone, [(1, 2, 2), (1, 3, 3), (1, 2, 5)])
        with pytest.raises(DistributedError, match="rank 1 has another batch than rank 0"):
            spread(**(other if dist.get_rank() == 1 else good))


def inputs_that_do_not_fit() -> None:
    with next_call_works() as (_, spread, good):
        if dist.get_rank() == 1:
            with pytest.raises(InputError, match="stands for"):
                spread(**good | {"image_grid_thw": good["image_grid_thw"][:2]})
        else:
            with pytest.raises(DistributedError, match="rank 1: InputError"):
                spread(**good)


def another_config() -> None:
    with next_call_works(), pytest.raises(DistributedError, match="rank 1 has another config"):
        compose(keys(QWEN, parallel={"mode": "data"}, select_layers=[dist.get_rank() % 2]))


def missing_weights(folder: str) -> None:
    first = dist.get_rank() == 0
    source = {"source": str(Path(folder) / "missing.safetensors")}
    with (
        next_call_works(),
        pytest.raises(WeightsError if first else DistributedError, match=r"missing\.safetensors"),
    ):
        compose(keys(QWEN, parallel={"mode": "data", "weights": "broadcast"}, weights=source))


def broken_image(folder: str) -> None:
    whole, broken = Path(folder) / "whole.png", Path(folder) / "broken.png"
    if dist.get_rank() == 0:
        noise_image(64, 64).save(whole)
        broken.write_bytes(whole.read_bytes()[:2000])  # its header is sound
    dist.barrier()
    with next_call_works() as (_, spread, _good):
        dealt = spread.parallel.assign([(1, 16, 16)] * 2)
        error = ImageError if 1 in dealt[dist.get_rank()] else DistributedError
        with pytest.raises(error, match=r"broken\.png"):
            spread.encode([whole, broken])


def failing_loader() -> None:
    """An error of the caller's own code is raised as it is where it happened, and named elsewhere."""
    grids = [(1, 4, 4), (1, 6, 6)]

    def load(image: int) -> Any:
        return {}["pixels"] if image == 1 else patches(alone, [(1, 2, 2)])

    with next_call_works() as (alone, spread, _):
        dealt = spread.parallel.assign(grids)
        owner = [1 in images for images in dealt].index(True)
        with pytest.raises(KeyError if dist.get_rank() == owner else DistributedError) as caught:
            spread.parallel.encode_owned(grids, load)
        if dist.get_rank() != owner:
            assert f"rank {owner}: KeyError: 'pixels' (image 1)" in str(caught.value)


def rows_that_were_not_planned() -> None:
    with (
        next_call_works() as (alone, spread, _),
        pytest.raises((InputError, DistributedError), match="image 0 gave 4 rows, where 6 were planned"),
    ):
        spread.parallel.encode_owned([(1, 4, 6)], lambda _: patches(alone, [(1, 2, 2)]))


FAILURES: dict[str, Callable[..., None]] = {
    "another batch": another_batch,
    "inputs that do not fit": inputs_that_do_not_fit,
    "another config": another_config,
    "failing loader": failing_loader,
    "rows that were not planned": rows_that_were_not_planned,
}
FAILURES_ON_DISK: dict[str, Callable[[str], None]] = {
    "missing weights": missing_weights,
    "broken image": broken_image,
}


def killed() -> float:
    """The last rank dies while the others wait for it; returns how long they waited."""
    _, spread = pair(CLIP)
    batch = tiny.pixels(CLIP, images=4)
    dist.barrier()
    if dist.get_rank() == dist.get_world_size() - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    start = time.monotonic()
    with torch.no_grad(), pytest.raises(DistributedError, match="another rank is gone"):
        spread(batch)
    return time.monotonic() - start


def die(rank: int) -> int:
    """One rank dies at once; the others return their number."""
    if dist.get_rank() == rank:
        os.kill(os.getpid(), signal.SIGKILL)
    return dist.get_rank()


def rank_number() -> int:
    return dist.get_rank()
