"""What every rank does in the tests of data-parallel towers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import tiny
import torch
from PIL import Image
from torch import Tensor

from vision_composer import compose
from vision_composer.tower import ComposedVisionEncoder

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
            yield padded(encoder, grids)
        elif name.startswith("qwen"):
            yield patches(encoder, grids)
        elif grids:
            sizes = [(w * 40, h * 30) for _, h, w in grids]
            yield encoder.preprocess([Image.effect_noise(size, 50).convert("RGB") for size in sizes])


def padded(encoder: ComposedVisionEncoder, grids: Sequence[tuple[int, int, int]]) -> dict[str, Tensor]:
    """Images without frames, of whole patches, padded to the largest."""
    side = encoder.info.patch_size
    sizes = torch.tensor([(h * side, w * side) for _, h, w in grids], dtype=torch.int64).view(-1, 2)
    height, width = sizes.amax(0).tolist() if grids else (side, side)
    return {"pixel_values": noise(len(grids), 3, height, width), "image_sizes": sizes}


def patches(encoder: ComposedVisionEncoder, grids: Sequence[tuple[int, int, int]]) -> dict[str, Tensor]:
    """Images and clips of merged tokens, as rows of patches."""
    info, merge = encoder.info, encoder.info.merge_size
    thw = torch.tensor([(t, h * merge, w * merge) for t, h, w in grids], dtype=torch.int64).view(-1, 3)
    rows = noise(int(thw.prod(1).sum()), 3 * info.temporal_patch_size * info.patch_size**2)
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
        for name, encoder in {**tiny.ENCODERS, **tiny.PACKED}.items():
            alone, spread = pair(encoder)
            for batch in batches(name, alone):
                same(spread(**batch), alone(**batch))
