"""What a checkpoint says of Kimi's image processor, and the average over the frames of a clip."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import torch
from PIL import Image
from support import tiny

from vision_composer import compose
from vision_composer.attention.segments import Segments
from vision_composer.attention.sending import Parcel
from vision_composer.encoders import FAMILIES
from vision_composer.encoders.kimi_k25 import KimiLayout, Pooling
from vision_composer.encoders.places import Patches

ENCODER = tiny.PACKED["kimi_k25_vision"]


def test_a_checkpoints_own_limits_count(tmp_path: Path) -> None:
    for values, size in (
        ({"max_patches": 16}, (16, 16)),
        ({"size": {"max_height": 6, "max_width": 6}}, (24, 24)),
    ):
        folder = tiny.save(tiny.reference(ENCODER), tmp_path / str(size))
        (folder / "preprocessor_config.json").write_text(json.dumps(values))
        encoder = compose({"schema": 1, "encoder": ENCODER, "weights": {"source": str(folder)}})
        assert encoder.info.resize is not None
        assert encoder.info.resize(500, 500) == size
        assert len(encoder.encode(Image.new("RGB", (500, 500)))[0]) == encoder.num_tokens(500, 500)


def test_frames_are_averaged_in_float32() -> None:
    grids = ((31, 2, 2),)
    parcel, unused = Parcel("cpu"), torch.zeros(31 * 4, 1)
    layout = KimiLayout(
        grids,
        frames=Segments([31 * 4]),
        rope=(unused, unused),
        position_taps=(unused, unused),
        frame_index=unused,
        pooling=Pooling(grids, parcel, 2).of(Patches(grids, parcel)),
    )
    model = SimpleNamespace(config=SimpleNamespace(merge_kernel_size=(2, 2)))
    hidden = torch.rand(31 * 4, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    got = FAMILIES["kimi_k25_vision"].merged(model, hidden, layout)
    want = hidden.double().view(31, 4, 64).mean(0).flatten()[None]
    assert got.dtype == torch.bfloat16
    assert (
        float(((got.double() - want) / want).abs().max()) < 1.01 * 2**-8
    )  # what rounding the result explains
