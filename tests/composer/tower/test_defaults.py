"""What torch makes by default, its dtype and its device, changes no features."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from PIL import Image
from support import tiny
from support.kinds import one_of_each_kind

from vision_composer import compose

ENCODERS = {
    name: encoder
    for name, encoder in tiny.ALL.items()
    if encoder.get("num_channels", 3) == 3 and "/" not in name
}


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def features(encoder: Any, inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    with torch.no_grad():
        return list(encoder(**inputs))


@pytest.mark.parametrize("name", one_of_each_kind(ENCODERS))
def test_the_default_dtype_changes_no_features(name: str) -> None:
    encoder = compose({"schema": 1, "encoder": ENCODERS[name]})
    again = compose({"schema": 1, "encoder": ENCODERS[name]})  # with no layout of its own yet
    again.load_state_dict(tiny.scramble(encoder).state_dict())
    sizes = [(64, 64), (100, 40)]
    inputs = encoder.preprocess([Image.effect_noise(size, 60).convert("RGB") for size in sizes])
    want = features(encoder, inputs)
    for dtype in (torch.float16, torch.float64):
        again.tower._layouts.clear()
        with default_dtype(dtype):
            got = features(again, inputs)
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(got, want, strict=True)), dtype


@pytest.mark.parametrize("name", one_of_each_kind([*tiny.PACKED, *tiny.PADDED]))
def test_a_layout_is_made_on_the_cpu_whatever_the_default_device(name: str) -> None:
    encoder = compose({"schema": 1, "encoder": (tiny.PACKED | tiny.PADDED)[name]})
    inputs = encoder.preprocess([Image.effect_noise((64, 96), 60).convert("RGB")])
    want = features(encoder, inputs)
    encoder.tower._layouts.clear()
    before = torch.get_default_device()
    torch.set_default_device("meta")  # a tensor made there holds no values
    try:
        batch = encoder.tower.read(inputs)
        layout = encoder.tower.layout(batch)
    finally:
        torch.set_default_device(before)
    assert layout.frames.order.device.type == "cpu"
    assert all(torch.equal(mine, other) for mine, other in zip(features(encoder, inputs), want, strict=True))


@pytest.mark.parametrize("name", one_of_each_kind(ENCODERS))
def test_autocast_gives_the_dtype_that_transformers_gives(name: str) -> None:
    encoder = compose({"schema": 1, "encoder": ENCODERS[name], "select_layers": [-1]})
    sample = encoder.family.samples(encoder.info, encoder.preprocess)[0]
    states: list[torch.Tensor] = []

    def keep(module: Any, args: Any, output: Any) -> None:
        states.append(output[0] if isinstance(output, tuple) else output)

    reference = tiny.reference(ENCODERS[name])
    encoder.family.block_list(reference)[-1].register_forward_hook(keep)
    with torch.autocast("cpu", torch.bfloat16):
        (got,) = features(encoder, dict(sample.inputs))
        with torch.no_grad():
            reference(**encoder.family.reference_inputs(sample.inputs))
    assert got.dtype == states[0].dtype
