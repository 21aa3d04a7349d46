"""Towers on one process and on several ranks, batches for both, and their comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from support import packed, tiny
from support.compare import assert_close
from support.images import noise_image
from vision_composer import compose
from vision_composer.encoder import ComposedVisionEncoder

QWEN, QWEN3, PIXTRAL = (tiny.PACKED[name] for name in ("qwen2_5_vl_vision", "qwen3_vl_vision", "pixtral"))
CLIP, DINO = tiny.ENCODERS["clip_vision_model"], tiny.ENCODERS["dinov2"]
ALL = tiny.ALL
NAMES = [
    name for name, encoder in ALL.items() if name in tiny.ENCODERS or encoder.get("num_channels", 3) == 3
]
"""Those that take pixels as they are, or images of three channels."""

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
        elif name in packed.ENCODERS:
            if grids or name in tiny.PACKED:
                yield packed.batch_of(name, grids)
        elif grids:
            sizes = [(w * 40, h * 30) for _, h, w in grids]
            yield encoder.preprocess([noise_image(*size) for size in sizes])


def patches(encoder: ComposedVisionEncoder, grids: Sequence[tuple[int, int, int]]) -> dict[str, Tensor]:
    """Images and clips of merged tokens, as rows of patches."""
    info, merge = encoder.info, encoder.info.grid_multiple
    thw = torch.tensor([(t, h * merge, w * merge) for t, h, w in grids], dtype=torch.int64).view(-1, 3)
    rows = noise(int(thw.prod(1).sum()), *encoder.family.patch_shape(info))  # type: ignore[operator]  # packed only
    return {"pixel_values": rows, "image_grid_thw": thw}


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def assert_same(got: Any, want: Any) -> None:
    """Assert that features are those of one process, and hold on to no memory but their own."""
    assert type(got) is type(want)
    assert len(got) == len(want)
    assert_close(list(got), list(want))
    for tensor in got if isinstance(got, tuple) else (got,):
        assert tensor.is_contiguous()
        assert tensor.untyped_storage().nbytes() == tensor.nbytes


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """A context in which memory that was not written holds NaN."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    try:
        assert torch.empty(2).isnan().all()
        yield
    finally:
        torch.use_deterministic_algorithms(False)
