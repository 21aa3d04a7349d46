"""What every rank does in the tests of data-parallel towers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist
from PIL import Image
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from support import padded, rank_modules, tiny
from vision_composer import compose
from vision_composer.encoder import ComposedVisionEncoder
from vision_composer.errors import DistributedError, ImageError, InputError, WeightsError

BATCHES = [
    [(1, 2, 3), (1, 5, 7), (1, 1, 4), (1, 2, 3), (1, 9, 2)],
    [(3, 2, 2), (1, 7, 1)],
    [(2, 1, 5)],
    [],
]
"""More images than ranks, fewer, one, none; clips where the encoder takes them."""


def keys(encoder: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"schema": 1, "encoder": encoder, **more}


def pair(encoder: dict[str, Any], parallel: Mapping[str, Any] | None = None, **more: Any) -> Any:
    """The same tower for one process, and on all ranks; every parameter random."""
    torch.manual_seed(0)
    alone = compose(keys(encoder, **more))
    tiny.scramble(alone)
    spread = compose(keys(encoder, parallel={"mode": "data", **(parallel or {})}, **more))
    spread.load_state_dict(alone.state_dict())
    return alone, spread


def batches(name: str, encoder: ComposedVisionEncoder) -> Iterator[dict[str, Tensor]]:
    """Batches of every number of images for a tiny encoder."""
    for grids in BATCHES:
        if name in tiny.ENCODERS:
            yield {"pixel_values": tiny.pixels(tiny.ENCODERS[name], images=len(grids))}
        elif name.startswith("pixtral"):
            yield whole_patches(encoder, grids)
        elif name in tiny.PACKED:
            yield patches(encoder, grids)
        elif name in tiny.PADDED:
            if grids:
                yield padded.batch_of(name, [(h, w) for _, h, w in grids])
        elif grids:
            sizes = [(w * 40, h * 30) for _, h, w in grids]
            yield encoder.preprocess([Image.effect_noise(size, 50).convert("RGB") for size in sizes])


def whole_patches(encoder: ComposedVisionEncoder, grids: Sequence[tuple[int, int, int]]) -> dict[str, Tensor]:
    """Images without frames, of whole patches, padded to the largest."""
    side = encoder.info.patch_size
    sizes = torch.tensor([(h * side, w * side) for _, h, w in grids], dtype=torch.int64).view(-1, 2)
    height, width = sizes.amax(0).tolist() if grids else (side, side)
    return {"pixel_values": noise(len(grids), 3, height, width), "image_sizes": sizes}


def patches(encoder: ComposedVisionEncoder, grids: Sequence[tuple[int, int, int]]) -> dict[str, Tensor]:
    """Images and clips of merged tokens, as rows of patches."""
    info, merge = encoder.info, encoder.info.grid_multiple
    thw = torch.tensor([(t, h * merge, w * merge) for t, h, w in grids], dtype=torch.int64).view(-1, 3)
    rows = noise(int(thw.prod(1).sum()), *encoder.family.patch_shape(info))  # type: ignore[operator]
    return {"pixel_values": rows, "image_grid_thw": thw}


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def same(got: Any, want: Any) -> None:
    assert type(got) is type(want)
    assert len(got) == len(want)
    for mine, theirs in zip(got, want, strict=True):
        assert mine.dtype == theirs.dtype
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)
    for tensor in got if isinstance(got, tuple) else (got,):
        assert tensor.is_contiguous()
        assert tensor.untyped_storage().nbytes() == tensor.nbytes


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """Memory that was not written holds NaN."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    try:
        assert torch.empty(2).isnan().all()
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def every_family() -> None:
    with poisoned_memory(), torch.no_grad():
        for name, encoder in {**tiny.ENCODERS, **tiny.PACKED, **tiny.PADDED, **tiny.TILED}.items():
            if encoder.get("num_channels", 3) != 3 and name not in tiny.ENCODERS:
                continue  # takes no images
            if "/" in name and dist.get_world_size() > 2:
                continue  # of every family one encoder, to save time
            alone, spread = pair(encoder)
            for batch in batches(name, alone):
                same(spread(**batch), alone(**batch))


# --- what comes out -----------------------------------------------------------------------------------

QWEN, QWEN3, PIXTRAL = (tiny.PACKED[name] for name in ("qwen2_5_vl_vision", "qwen3_vl_vision", "pixtral"))
CLIP, DINO = tiny.ENCODERS["clip_vision_model"], tiny.ENCODERS["dinov2"]


def outputs() -> None:
    """Selections, dtypes, ways to deal and to gather."""
    rank = dist.get_rank()
    with poisoned_memory(), torch.no_grad():
        for encoder, more in (
            (QWEN3, {"deepstack": "separate"}),
            (QWEN3, {"select_layers": [0, -1]}),
            (PIXTRAL, {"select_layers": [2], "weights": {"dtype": "bfloat16"}}),
            (CLIP, {"select_layers": [-2, 0], "feature_select_strategy": "default"}),
            (tiny.ENCODERS["siglip_vision_model"], {"head": True}),
            (CLIP, {"compile": {"backend": "eager"}}),
        ):
            alone, spread = pair(encoder, **more)
            name = encoder["model_type"]
            for batch in batches(name, alone):
                same(spread(**batch), alone(**batch))
        alone, spread = pair(DINO)
        wide = noise(1, 3, 16, 40)  # of another size than the image that idle ranks make up
        same(spread(wide), alone(wide))
        with torch.autocast("cpu", torch.bfloat16):  # features of another dtype than parameters
            alone, spread = pair(QWEN)
            for batch in batches("qwen2_5_vl_vision", alone):
                for mine, theirs in zip(spread(**batch), alone(**batch), strict=True):
                    assert mine.dtype == theirs.dtype == torch.bfloat16
                    torch.testing.assert_close(mine, theirs, rtol=0, atol=0.1)
        for balance in ("cost", "patches", "none"):
            alone, spread = pair(QWEN, {"balance": balance})
            apart = pair(QWEN, {"balance": balance, "gather": "none"})[1]
            for batch in batches("qwen2_5_vl_vision", alone):
                want = alone(**batch)
                pending = spread.parallel.start(**batch)
                same(pending.wait(), want)
                hands = spread.parallel.assign(alone.image_grids(batch))
                same(apart(**batch), tuple(want[i].clone() for i in hands[rank]))
        alone, apart = pair(CLIP, {"gather": "none"})
        batch = tiny.pixels(CLIP, images=1)
        same(apart(batch), alone(batch if rank == 0 else batch[:0]))


def sharded() -> None:
    """Every rank brings images of its own; the last brings none."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    with poisoned_memory(), torch.no_grad():
        for encoder, cut in ((QWEN, patches), (CLIP, None)):
            alone, spread = pair(encoder, {"inputs": "sharded"})
            own = [[(1, 2, 2 + i)] * (1 + i) if i < ranks - 1 else [] for i in range(ranks)]

            def made(grids: Any, cut: Any = cut, alone: Any = alone) -> Any:
                if cut is not None:
                    return cut(alone, grids)
                return {"pixel_values": tiny.pixels(CLIP, images=len(grids), seed=len(grids))}

            want = [alone(**made(grids)) for grids in own]
            whole = (
                torch.cat(want) if cut is None else tuple(image.clone() for part in want for image in part)
            )
            same(spread(**made(own[rank])), whole)
            same(spread(**made([])), alone(**made([])))


def images(folder: str) -> None:
    """Images, opened by the rank that encodes them; weights read in turn, or sent; saving."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    sizes = [(40, 30), (130, 64), (9, 50), (200, 100), (64, 64)]
    paths = []
    for i, size in enumerate(sizes):
        path = Path(folder) / f"{i}.png"
        if rank == 0:
            Image.effect_noise(size, 50).convert("RGB").save(path)
        paths.append(str(path))
    dist.barrier()
    opened: list[Any] = []
    for encoder in (QWEN, CLIP):
        alone, spread = pair(encoder)
        if rank == 0:
            alone.save(Path(folder) / encoder["model_type"])
        dist.barrier()
        want = alone.encode(paths)
        source = {"source": str(Path(folder) / encoder["model_type"])}
        for weights in ("node", "broadcast"):
            if weights == "broadcast" and rank > 0:
                source = {"source": str(Path(folder) / "not here")}
            loaded = compose(keys(encoder, parallel={"mode": "data", "weights": weights}, weights=source))
            assert loaded.preprocessor.processor.to_dict() == alone.preprocessor.processor.to_dict()
            for size in (1, 2):
                same(tuple(loaded.encode(paths, batch_size=size)), tuple(want))
            loaded.encode(Image.new("RGB", (8, 8)))
        with patch.object(
            type(spread), "preprocess", autospec=True, side_effect=type(spread).preprocess
        ) as spy:
            same(tuple(spread.encode(paths)), tuple(want))
        opened += [call.args[1] for call in spy.call_args_list]
        spread.save(Path(folder) / "saved")
        dist.barrier()
        same(tuple(compose(Path(folder) / "saved").encode(paths)), tuple(want))
    counts = [0] * ranks
    dist.all_gather_object(counts, len(opened))
    assert sum(counts) == 2 * len(paths)


# --- training -----------------------------------------------------------------------------------------


def objective(features: Any) -> Tensor:
    images = list(features)
    return torch.stack([(i + 1) * image.float().square().mean() for i, image in enumerate(images)]).mean()


def gradients(tower: torch.nn.Module) -> dict[str, Tensor]:
    return {
        name: (p.grad.full_tensor() if hasattr(p.grad, "full_tensor") else p.grad).clone()
        for name, p in tower.named_parameters()
        if p.grad is not None
    }


def same_gradients(got: dict[str, Tensor], want: dict[str, Tensor]) -> None:
    assert got.keys() == want.keys()
    for name, gradient in want.items():
        torch.testing.assert_close(
            got[name], gradient, rtol=0, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}"
        )


def training() -> None:
    """Gradients are those of one process: with DDP, FSDP2, checkpointing, and frozen parts."""
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (QWEN, {}),
        (CLIP, {"training": {"gradient_checkpointing": True}}),
        (QWEN3, {"training": {"gradient_checkpointing": True, "freeze": ["stem", "blocks[:1]"]}}),
        (PIXTRAL, {"select_layers": [-1], "training": {"freeze": "blocks[:2]"}}),
    ]
    if dist.get_world_size() > 2:
        del cases[2:]  # to save time
    for encoder, more in cases:
        alone, _ = pair(encoder, **more)
        alone.train()
        name = encoder["model_type"]
        for batch in [batch for batch in batches(name, alone) if len(batch["pixel_values"])]:
            alone.zero_grad()
            objective(alone(**batch)).backward()
            want = gradients(alone)
            for wrap in (averaged, with_ddp, with_fsdp):
                spread = pair(encoder, **more)[1].train()
                wrap(spread, batch)
                same_gradients(gradients(spread), want)


def averaged(tower: ComposedVisionEncoder, batch: dict[str, Tensor]) -> None:
    """By hand; every rank takes part of the loss."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    features = tower(**batch)
    shares = [(i + 1) * image.square().mean() / len(features) for i, image in enumerate(features)]
    mine = shares[rank::ranks] or [0 * features[0].sum()]
    (ranks * torch.stack(mine).sum()).backward()
    for parameter in tower.parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None
            dist.all_reduce(parameter.grad)
            parameter.grad /= ranks


def with_ddp(tower: ComposedVisionEncoder, batch: dict[str, Tensor]) -> None:
    model = DistributedDataParallel(tower)
    for _ in range(2):  # the second forward would fail if the first left a parameter out
        tower.zero_grad()
        objective(model(**batch)).backward()


def with_fsdp(tower: ComposedVisionEncoder, batch: dict[str, Tensor]) -> None:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for block in tower.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(tower, mesh=mesh)
    with torch.no_grad():
        tower(**batch)
    objective(tower(**batch)).backward()


# --- failure ------------------------------------------------------------------------------------------


def failures(folder: str) -> None:
    """Whatever goes wrong on one rank is an error on all, and the next call works."""
    rank = dist.get_rank()
    alone, spread = pair(QWEN)
    good = patches(alone, [(1, 2, 2), (1, 3, 3), (1, 2, 4)])
    other = patches(alone, [(1, 2, 2), (1, 3, 3), (1, 2, 5)])
    with torch.no_grad():
        with pytest.raises(DistributedError, match="rank 1 has another batch than rank 0"):
            spread(**(other if rank == 1 else good))
        wrong = good | {"image_grid_thw": good["image_grid_thw"][:2]}
        error, message = (InputError, "stands for") if rank == 1 else (DistributedError, "rank 1: InputError")
        with pytest.raises(error, match=message):
            spread(**(wrong if rank == 1 else good))
        with pytest.raises(DistributedError, match="rank 1 has another config"):
            compose(keys(QWEN, parallel={"mode": "data"}, select_layers=[rank % 2]))
        missing = {
            "source": str(Path(folder) / ("missing.safetensors" if rank == 0 else "qwen2_5_vl_vision"))
        }
        error = WeightsError if rank == 0 else DistributedError
        with pytest.raises(error, match=r"missing\.safetensors"):
            compose(keys(QWEN, parallel={"mode": "data", "weights": "broadcast"}, weights=missing))
        broken = Path(folder) / "broken.png"
        whole = Path(folder) / "4.png"
        if rank == 0:
            broken.write_bytes(whole.read_bytes()[:2000])  # its header is sound
        dist.barrier()
        hands = spread.parallel.assign([(1, 16, 16)] * 2)
        error = ImageError if 1 in hands[rank] else DistributedError
        with pytest.raises(error, match=r"broken\.png"):
            spread.encode([whole, broken])

        def load(image: int) -> Any:
            return {} if image else alone.family.take(alone.info, good, [image])

        hands = spread.parallel.assign([(1, 4, 4), (1, 6, 6)])
        with pytest.raises(KeyError if 1 in hands[rank] else DistributedError) as caught:
            spread.parallel.encode_owned([(1, 4, 4), (1, 6, 6)], broken_at_1(load))
        if 1 not in hands[rank]:
            assert f"rank {[1 in hand for hand in hands].index(True)}: KeyError: 'pixels' (image 1)" in str(
                caught.value
            )
        with pytest.raises((InputError, DistributedError), match="image 0 gave 4 rows, where 6 were planned"):
            spread.parallel.encode_owned([(1, 4, 6)], lambda i: alone.family.take(alone.info, good, [0]))
        same(spread(**good), alone(**good))


def broken_at_1(load: Any) -> Any:
    def broken(image: int) -> Any:
        return {}["pixels"] if image == 1 else load(image)

    return broken


def killed() -> float:
    """The last rank dies while the others wait for it; returns how long they waited."""
    spread = pair(CLIP)[1]
    batch = tiny.pixels(CLIP, images=4)
    dist.barrier()
    if dist.get_rank() == dist.get_world_size() - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    start = time.monotonic()
    with torch.no_grad(), pytest.raises(DistributedError, match="another rank is gone"):
        spread(batch)
    return time.monotonic() - start


def everything(folder: str) -> float:
    """All of it on one set of ranks; the last one is dead at the end.

    To save time, three ranks do not train, and four do not go through all ways to put features out.
    """
    rank_modules.plain_modules()
    every_family()
    if dist.get_world_size() != 4:
        outputs()
    sharded()
    images(folder)
    if dist.get_world_size() != 3:
        training()
    failures(folder)
    return killed()
