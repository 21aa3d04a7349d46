"""What ranks do together in the tests of what comes out of data-parallel towers."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from PIL import Image

from support import tiny
from support.images import noise_image
from support.rank_towers import (
    ALL,
    CLIP,
    DINO,
    PIXTRAL,
    QWEN,
    QWEN3,
    assert_same,
    batches,
    keys,
    noise,
    pair,
    patches,
    poisoned_memory,
)
from vision_composer import compose

SELECTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "deepstack apart": (QWEN3, {"deepstack": "separate"}),
    "packed states": (QWEN3, {"select_layers": [0, -1]}),
    "half precision": (PIXTRAL, {"select_layers": [2], "weights": {"dtype": "bfloat16"}}),
    "dense states": (CLIP, {"select_layers": [-2, 0], "feature_select_strategy": "default"}),
    "pooled tokens": (CLIP, {"reduce": {"type": "pool"}, "feature_select_strategy": "default"}),
    "fewer tokens": (QWEN, {"reduce": {"type": "vidcom2"}}),
    "head": (tiny.ENCODERS["siglip_vision_model"], {"head": True}),
    "compiled": (CLIP, {"compile": {"backend": "eager"}}),
}


def family(name: str) -> None:
    """A tiny encoder gives the same for every number of images."""
    with poisoned_memory(), torch.no_grad():
        alone, spread = pair(ALL[name])
        for batch in batches(name, alone):
            assert_same(spread(**batch), alone(**batch))


def selection(name: str) -> None:
    """So does a tower with other keys than its encoder's."""
    encoder, more = SELECTIONS[name]
    with poisoned_memory(), torch.no_grad():
        alone, spread = pair(encoder, **more)
        for batch in batches(encoder["model_type"], alone):
            assert_same(spread(**batch), alone(**batch))


HALF = {
    "select_layers": [-2],
    "feature_select_strategy": "default",
    "image_processor": {"type": "LlavaNextImageProcessor"},
    "connector": {"type": "llava_next", "hidden_size": 40},
    "tiling": {"type": "llava_next", "image_grid_pinpoints": [[32, 64], [64, 32], [64, 64]]},
}


STEPS = HALF | {
    "connector": {
        "type": "steps",
        "hidden_size": 40,
        "steps": [{"type": "space_to_depth"}, {"type": "norm"}, {"type": "linear", "width": 40}],
    }
}


def vision_half(output: str, half: dict[str, Any] = HALF) -> None:
    """Images of tiles go to ranks whole. Their tiles, or rows behind the connector, come back in order."""
    images = [noise_image(*size) for size in ((64, 64), (75, 40), (20, 90), (33, 31), (50, 50))]
    with poisoned_memory(), torch.no_grad():
        alone, spread = pair(CLIP, **half, output=output)
        for some in (images, images[:2], images[:1]):
            batch = alone.preprocess(some)
            assert_same(spread(**batch), alone(**batch))
        assert_same(tuple(spread.encode(images, batch_size=2)), tuple(alone.encode(images)))
        assert spread.encode([]) == []


def another_size() -> None:
    """An image of another size than the one that idle ranks make up."""
    with poisoned_memory(), torch.no_grad():
        alone, spread = pair(DINO)
        wide = noise(1, 3, 16, 40)
        assert_same(spread(wide), alone(wide))


def autocast() -> None:
    """Features of another dtype than the parameters."""
    with poisoned_memory(), torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        alone, spread = pair(QWEN)
        for batch in batches("qwen2_5_vl_vision", alone):
            got = spread(**batch)
            assert_same(got, alone(**batch))
            assert {image.dtype for image in got} <= {torch.bfloat16}


def balance(how: str) -> None:
    """However images are dealt out, all come back in order; without a gather each rank keeps its own."""
    with poisoned_memory(), torch.no_grad():
        alone, spread = pair(QWEN, {"balance": how})
        apart = pair(QWEN, {"balance": how, "gather": "none"})[1]
        for batch in batches("qwen2_5_vl_vision", alone):
            want = alone(**batch)
            pending = spread.parallel.start(**batch)
            assert_same(pending.wait(), want)
            dealt = spread.parallel.assign(alone.image_grids(batch))
            assert_same(apart(**batch), tuple(want[i].clone() for i in dealt[dist.get_rank()]))


def dense_without_gather() -> None:
    """One image for several ranks: all but the first keep none."""
    with poisoned_memory(), torch.no_grad():
        alone, apart = pair(CLIP, {"gather": "none"})
        batch = tiny.pixels(CLIP, images=1)
        assert_same(apart(batch), alone(batch if dist.get_rank() == 0 else batch[:0]))


def sharded_packed() -> None:
    """Every rank brings images of its own; the last brings none, then all bring none."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    with poisoned_memory(), torch.no_grad():
        alone, spread = pair(QWEN, {"inputs": "sharded"})
        own = [patches(alone, [(1, 2, 2 + i)] * (1 + i) if i < ranks - 1 else []) for i in range(ranks)]
        whole = tuple(image.clone() for batch in own for image in alone(**batch))
        assert_same(spread(**own[rank]), whole)
        assert_same(spread(**patches(alone, [])), alone(**patches(alone, [])))


def sharded_dense() -> None:
    """The same with images of one size."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    with poisoned_memory(), torch.no_grad():
        alone, spread = pair(CLIP, {"inputs": "sharded"})
        own = [tiny.pixels(CLIP, images=(1 + i) % ranks, seed=i) for i in range(ranks)]
        assert_same(spread(own[rank]), torch.cat([alone(batch) for batch in own]))
        assert_same(spread(own[-1]), alone(own[-1]))


def sharded_images(encoder: dict[str, Any]) -> None:
    """Every rank encodes a list of its own, of another length than the others'; the last brings none."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    lists = [
        [noise_image(32 + 8 * i, 40 + 8 * owner) for i in range(3 - owner % 2)] if owner < ranks - 1 else []
        for owner in range(ranks)
    ]
    with poisoned_memory():
        alone, spread = pair(encoder, {"inputs": "sharded"})
        apart = pair(encoder, {"inputs": "sharded", "gather": "none"})[1]
        want = [alone.encode(images) for images in lists]
        for size in (1, 2, 8):
            got = spread.encode(lists[rank], batch_size=size)
            assert_same(tuple(got), tuple(image for own in want for image in own))
            assert_same(tuple(apart.encode(lists[rank], batch_size=size)), tuple(want[rank]))
        assert spread.encode([]) == []


def _image_files(folder: str) -> list[str]:
    sizes = [(40, 30), (130, 64), (9, 50), (200, 100), (64, 64)]
    paths = [str(Path(folder) / f"{i}.png") for i in range(len(sizes))]
    if dist.get_rank() == 0:
        for path, size in zip(paths, sizes, strict=True):
            noise_image(*size).save(path)
    dist.barrier()
    return paths


def weights(encoder: dict[str, Any], how: str, folder: str) -> None:
    """Towers loaded by every rank, or by the first alone, encode as the saved one does."""
    paths = _image_files(folder)
    alone, _ = pair(encoder)
    if dist.get_rank() == 0:
        alone.save(Path(folder) / "saved")
    dist.barrier()
    seen = how == "node" or dist.get_rank() == 0
    source = {"source": str(Path(folder) / ("saved" if seen else "not here"))}
    loaded = compose(keys(encoder, parallel={"mode": "data", "weights": how}, weights=source))
    assert loaded.preprocessor.processor.to_dict() == alone.preprocessor.processor.to_dict()
    want = tuple(alone.encode(paths))
    for size in (1, 2):
        assert_same(tuple(loaded.encode(paths, batch_size=size)), want)
    loaded.encode(Image.new("RGB", (8, 8)))


def opened_once(encoder: dict[str, Any], folder: str) -> int:
    """How many images this rank opens of those that all ranks encode."""
    paths = _image_files(folder)
    alone, spread = pair(encoder)
    made = type(spread.preprocessor)
    with patch.object(made, "read", autospec=True, side_effect=made.read) as spy:
        got = tuple(spread.encode(paths))
    assert_same(got, tuple(alone.encode(paths)))
    return len(spy.call_args_list)


def saving(encoder: dict[str, Any], folder: str) -> None:
    """A tower that all ranks save together is the one that they ran."""
    paths = _image_files(folder)
    alone, spread = pair(encoder)
    spread.save(Path(folder) / "saved")
    dist.barrier()
    assert_same(tuple(compose(Path(folder) / "saved").encode(paths)), tuple(alone.encode(paths)))


def quantised(folder: str) -> None:
    """A tower that every rank reads and quantises, or reads quantised, encodes as it does alone."""
    paths = _image_files(folder)
    alone, _ = pair(CLIP)
    if dist.get_rank() == 0:
        alone.save(Path(folder) / "floats")
        compose(Path(folder) / "floats", overrides=["quantize=int8"]).save(Path(folder) / "integers")
    dist.barrier()
    for saved in ("floats", "integers"):
        spread, single = (
            compose(Path(folder) / saved, overrides=["quantize=int8", f"parallel={parallel}"])
            for parallel in ("{mode: data}", "none")
        )
        assert_same(tuple(spread.encode(paths)), tuple(single.encode(paths)))


def given_group(folder: str) -> None:
    """A group that is given spreads this run, and is no part of what is saved."""
    grouped = compose(keys(CLIP), process_group=dist.group.WORLD)
    assert grouped.parallel is not None
    assert grouped.parallel.size == dist.get_world_size()
    assert grouped.config.parallel == "none"
    grouped.save(Path(folder) / "saved")
    dist.barrier()
    assert compose(Path(folder) / "saved").parallel is None
