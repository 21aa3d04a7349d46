"""What ranks do together in the tests of failures: whatever goes wrong on one is an error on all."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from support import rank_modules, tiny
from support.images import noise_image
from support.rank_towers import CLIP, QWEN, assert_same, keys, noise, pair, patches
from vision_composer import compose, run_dp_sharded_mrope_vision_model, run_dp_sharded_vision_model
from vision_composer.encoder import ComposedVisionEncoder
from vision_composer.errors import (
    ConfigError,
    DistributedError,
    ImageError,
    InputError,
    Problem,
    WeightsError,
)
from vision_composer.parallel import CostModel, gather
from vision_composer.weights import open_checkpoint

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


def another_list() -> None:
    """Lists of images that differ, in their names or only in their length."""
    images = [noise_image(32, 32) for _ in range(8)]
    paths = [f"{i}.png" for i in range(8)]
    for some, others in ((images, images[:4]), (images, []), (paths, paths[::-1])):
        with (
            next_call_works() as (_, spread, _good),
            pytest.raises(DistributedError, match="rank 1 has another list of images than rank 0"),
        ):
            spread.encode(others if dist.get_rank() == 1 else some, batch_size=2)


def another_batch_size() -> None:
    """One rank would make more batches than the others."""
    _, spread = pair(CLIP, {"inputs": "sharded"})
    with (
        next_call_works(),
        pytest.raises(DistributedError, match="rank 1 has another batch size"),
    ):
        spread.encode([noise_image(32, 32)] * 4, batch_size=2 if dist.get_rank() == 1 else 4)


def inputs_that_do_not_fit() -> None:
    with next_call_works() as (_, spread, good):
        if dist.get_rank() == 1:
            with pytest.raises(InputError, match="stands for"):
                spread(**good | {"image_grid_thw": good["image_grid_thw"][:2]})
        else:
            with pytest.raises(DistributedError, match="rank 1: InputError"):
                spread(**good)


def grids_that_are_none() -> None:
    with next_call_works():
        module = rank_modules.Packed()
        grids: Any = [[1, 2, None]] if dist.get_rank() == 1 else [[1, 2, 2]]
        with pytest.raises(TypeError if dist.get_rank() == 1 else DistributedError) as caught:
            run_dp_sharded_mrope_vision_model(module, noise(4, 3), grids, rope_type="rope_3d")
        if dist.get_rank() != 1:
            assert "rank 1: TypeError" in str(caught.value)


def batch_that_is_none() -> None:
    with next_call_works():
        batch: Any = None if dist.get_rank() == 1 else noise(4, 3, 4, 4)
        with pytest.raises(TypeError if dist.get_rank() == 1 else DistributedError) as caught:
            run_dp_sharded_vision_model(batch, rank_modules.Dense())
        if dist.get_rank() != 1:
            assert "rank 1: TypeError" in str(caught.value)


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


def not_finite(gather: str = "all") -> None:
    """Features that are NaN are an error of the image, named by the rank that encodes it."""
    images = [noise_image(32, 32) for _ in range(2 * dist.get_world_size())]
    with next_call_works():
        _, spread = pair(CLIP, {"gather": gather})
        first = spread.parallel.assign([(1, 4, 4)] * len(images))[1][0]
        if dist.get_rank() == 1:
            with torch.no_grad():
                next(iter(spread.parameters())).fill_(torch.nan)
        with pytest.raises(ImageError if dist.get_rank() == 1 else DistributedError) as caught:
            spread.encode(images)
        assert f"image {first}: its features are NaN" in str(caught.value)


def failing_device() -> None:
    """What a device raises in the middle of a batch."""

    def fail(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with next_call_works() as (_, spread, good):
        runs = patch.object(spread.tower, "run_block", fail) if dist.get_rank() == 1 else nullcontext()
        error = torch.OutOfMemoryError if dist.get_rank() == 1 else DistributedError
        with runs, pytest.raises(error, match=r"CUDA out of memory") as caught:
            spread(**good)
        if dist.get_rank() != 1:
            assert "could not encode images: rank 1: OutOfMemoryError" in str(caught.value)


def no_memory_for_the_rows_of_others() -> None:
    """A rank that cannot take what the others send says so, before they send it; in the backward too."""

    def fail(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def failing(what: Any, name: str) -> Any:
        return patch.object(what, name, fail) if dist.get_rank() == 1 else nullcontext()

    error = torch.OutOfMemoryError if dist.get_rank() == 1 else DistributedError
    with next_call_works() as (_, spread, good):
        with failing(gather, "_new"), pytest.raises(error, match="CUDA out of memory") as caught:
            spread(**good)
        if dist.get_rank() != 1:
            assert "could not gather features: rank 1: OutOfMemoryError" in str(caught.value)
        with torch.enable_grad():
            loss = torch.cat(spread(**good)).sum()
        with failing(torch, "cat"), pytest.raises(error, match="CUDA out of memory"):
            loss.backward()


def slow() -> None:
    """A rank that comes late is waited for."""
    with next_call_works():
        if dist.get_rank() == 1:
            time.sleep(3)


def config_that_cannot_be_loaded() -> None:
    """It fails before the ranks have met."""
    source: Any = "no-such-preset" if dist.get_rank() == 1 else keys(QWEN)
    with next_call_works():
        with pytest.raises(ConfigError if dist.get_rank() == 1 else DistributedError) as caught:
            compose(source, process_group=dist.group.WORLD)
        assert "no-such-preset" in str(caught.value)


def config_that_cannot_work() -> None:
    late = patch("vision_composer.building.plan_any", side_effect=ConfigError(Problem("VC104", "odd")))
    error = ConfigError if dist.get_rank() == 1 else DistributedError
    with (
        next_call_works(),
        late if dist.get_rank() == 1 else nullcontext(),
        pytest.raises(error, match="odd"),
    ):
        compose(keys(QWEN, parallel={"mode": "data"}))


def dtype_that_does_not_work() -> None:
    dtype, error = (torch.float64, InputError) if dist.get_rank() == 1 else (torch.float16, DistributedError)
    with next_call_works(), pytest.raises(error, match=r"dtype must be .* not torch\.float64"):
        compose(keys(QWEN, parallel={"mode": "data"}), dtype=dtype)


def other_costs(folder: str) -> None:
    """The same table of costs may lie anywhere; other costs are an error."""
    alone, _ = pair(QWEN)
    table = Path(folder) / f"{dist.get_rank()}.json"
    spread = keys(QWEN, parallel={"mode": "data", "cost_table": str(table)})
    CostModel(alone.plan).save(table)
    assert compose(spread).parallel is not None
    CostModel(alone.plan, float(dist.get_rank() == 1)).save(table)
    with (
        next_call_works(),
        pytest.raises(DistributedError, match="rank 1 has another table of costs than rank 0"),
    ):
        compose(spread)


def device_that_is_not_there() -> None:
    device, error = ("cuda:99", InputError) if dist.get_rank() == 1 else ("cpu", DistributedError)
    with next_call_works(), pytest.raises(error, match="'cuda:99' cannot be used here"):
        compose(keys(QWEN, parallel={"mode": "data"}), device=device)


def rows_that_were_not_planned() -> None:
    with (
        next_call_works() as (alone, spread, _),
        pytest.raises((InputError, DistributedError), match="image 0 gave 4 rows, where 6 were planned"),
    ):
        spread.parallel.encode_owned([(1, 4, 6)], lambda _: patches(alone, [(1, 2, 2)]))


def another_source(folder: str, first: dict[str, Any], last: dict[str, Any], what: str) -> float:
    """Ranks that were told to read other weights find out before any is read; returns how long it took."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    own = {"source": str(Path(folder) / "tower"), "dtype": "float32"}
    weights = {key: value for key, value in (own | (last if rank == ranks - 1 else first)).items() if value}
    parallel = {"mode": "data"}
    if "parallel" in weights:
        parallel["weights"] = weights.pop("parallel")
    start = time.monotonic()
    with pytest.raises(DistributedError) as caught:
        compose(keys(CLIP, parallel=parallel, weights=weights))
    assert str(caught.value).startswith(f"could not compose the encoder: rank {ranks - 1} has another {what}")
    assert "\n" not in str(caught.value)
    return time.monotonic() - start


OTHER_SOURCES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "none on the first": ({"source": None}, {}, "source of weights than rank 0 (a checkpoint and rank 0)"),
    "none on the last": ({}, {"source": None}, "source of weights than rank 0 (rank 0 and a checkpoint)"),
    "another folder": ({}, {"source": "/nowhere/else"}, "config than rank 0"),
    "another dtype": ({}, {"dtype": "bfloat16"}, "config than rank 0"),
    "another prefix": ({}, {"prefix": "visual"}, "config than rank 0"),
    "sent to some": (
        {"parallel": "broadcast"},
        {},
        "source of weights than rank 0 (a checkpoint and rank 0)",
    ),
}
"""What the first ranks are told, what the last one is, and how it is said."""


def weights_missing_on_one(folder: str) -> None:
    """A machine that lacks the checkpoint which the others have."""
    source, mine = str(Path(folder) / "tower.safetensors"), dist.get_rank() == 1

    def elsewhere(source: str, *arguments: Any, **options: Any) -> Any:
        return open_checkpoint(source.replace("tower", "absent"), *arguments, **options)

    if dist.get_rank() == 0:
        tiny.save(tiny.reference(CLIP), Path(folder) / "tower")
        (Path(folder) / "tower/model.safetensors").rename(source)
    dist.barrier()
    opened = patch("vision_composer.weights.checkpoint.open_checkpoint", elsewhere) if mine else nullcontext()
    with next_call_works(), opened:
        with pytest.raises(WeightsError if mine else DistributedError) as caught:
            compose(keys(CLIP, parallel={"mode": "data"}, weights={"source": source}))
        assert "absent.safetensors: no such file or folder" in str(caught.value)


def pipe_as_image(folder: str) -> None:
    """Nobody waits for a writer."""
    whole, pipe = Path(folder) / "whole.png", Path(folder) / "pipe.png"
    if dist.get_rank() == 0:
        noise_image(64, 64).save(whole)
        os.mkfifo(pipe)
    dist.barrier()
    with (
        next_call_works() as (_, spread, _good),
        pytest.raises((ImageError, DistributedError), match=r"pipe\.png: .*not a regular file"),
    ):
        spread.encode([whole, whole, pipe])


FAILURES: dict[str, Callable[..., None]] = {
    "another batch": another_batch,
    "another list": another_list,
    "another batch size": another_batch_size,
    "not finite": not_finite,
    "not finite, kept": partial(not_finite, "none"),
    "failing device": failing_device,
    "no memory for the rows of others": no_memory_for_the_rows_of_others,
    "slow": slow,
    "config that cannot be loaded": config_that_cannot_be_loaded,
    "config that cannot work": config_that_cannot_work,
    "device that is not there": device_that_is_not_there,
    "dtype that does not work": dtype_that_does_not_work,
    "grids that are none": grids_that_are_none,
    "batch that is none": batch_that_is_none,
    "inputs that do not fit": inputs_that_do_not_fit,
    "another config": another_config,
    "failing loader": failing_loader,
    "rows that were not planned": rows_that_were_not_planned,
}
FAILURES_ON_DISK: dict[str, Callable[[str], None]] = {
    "other costs": other_costs,
    "missing weights": missing_weights,
    "broken image": broken_image,
    "pipe as image": pipe_as_image,
    "weights missing on one": weights_missing_on_one,
}


def gone(how: str) -> float:
    """The last rank is gone while the others wait for it; returns how long they waited."""
    _, spread = pair(CLIP)
    batch = tiny.pixels(CLIP, images=4)
    dist.barrier()
    if dist.get_rank() == dist.get_world_size() - 1:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(0)
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
