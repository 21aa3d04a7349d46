"""Batches through an encoder: features as they are to be stored, and an image that fails fails alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import tiny
from support.images import noise_image
from support.stand_in import DEVICE, StandIn
from torch import Tensor

from vision_composer import compose
from vision_composer.errors import InputError, VisionComposerError
from vision_composer.jobs.batches import Ready
from vision_composer.jobs.encoded import Encoded, Failed, as_float32
from vision_composer.jobs.forward import Batch, Forward
from vision_composer.jobs.inputs import Row
from vision_composer.jobs.plan import StoreDtype
from vision_composer.jobs.pooling import Pooler

NO_BATCH, UNFIT = -77.0, -99.0
"""Pixels that the preprocessor or the encoder below refuses."""


class Ours:
    """An encoder whose features are its pixels, and its own preprocessor."""

    device = torch.device("cpu")
    plan = SimpleNamespace(dtype="float32")

    def __init__(self, *, packed: bool = False) -> None:
        self.packed = packed
        self.preprocessor = self

    def finish(self, read: Sequence[Mapping[str, Tensor]], device: torch.device) -> dict[str, Any]:
        if any((inputs["pixel_values"] == NO_BATCH).any() for inputs in read):
            raise InputError("makes no batch")
        return {"images": [inputs["pixel_values"] for inputs in read]}

    def image_grids(self, inputs: Mapping[str, Any]) -> list[tuple[int, int, int]]:
        return [(1, 1, len(image)) for image in inputs["images"]]

    def __call__(self, images: list[Tensor]) -> Tensor | tuple[Tensor, ...]:
        if any((image == UNFIT).any() for image in images):
            raise InputError("does not fit")
        return tuple(images) if self.packed else torch.stack(images)


def forward(
    *, packed: bool = False, store_dtype: StoreDtype = "float32", pooler: Pooler | None = None
) -> Forward:
    encoder: Any = Ours(packed=packed)
    return Forward(encoder, store_dtype, pooler)


def ready(number: int, features: Tensor) -> Ready:
    row = Row(f"{number}.png", "in", "file", "")
    return Ready(number, row, (5, 4), {"pixel_values": features}, len(features), 1)


def results(made: Forward, *features: Tensor) -> list[Encoded | Failed]:
    images = [ready(number, each) for number, each in enumerate(features)]
    return [*made.run(made.load(images)), *made.finish()]


def test_results_come_while_the_next_batch_runs() -> None:
    made = forward()
    first, second = (made.load([ready(number, torch.ones(2, 3))]) for number in (7, 8))
    assert made.run(first) == []
    assert [result.row for result in made.run(second)] == [7]
    assert [result.row for result in made.finish()] == [8]
    assert made.finish() == []


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_features_are_stored_as_asked_for(dtype: StoreDtype, packed: bool) -> None:
    kind: torch.dtype = getattr(torch, dtype)
    features = [torch.randn(2 + (i if packed else 0), 3) for i in range(4)]
    found = results(forward(packed=packed, store_dtype=dtype), *features)
    for number, (result, wanted) in enumerate(zip(found, features, strict=True)):
        assert isinstance(result, Encoded)
        assert (result.row, result.id, result.source, result.size) == (number, f"{number}.png", "in", (5, 4))
        assert (result.grid, result.num_tokens, result.dtype) == ((1, 1, len(wanted)), len(wanted), dtype)
        got = as_float32(result.features) if dtype == "bfloat16" else result.features
        np.testing.assert_array_equal(got, wanted.to(kind).float().numpy().astype(got.dtype))
        assert got.dtype == (np.float16 if dtype == "float16" else np.float32)


@pytest.mark.parametrize("packed", [False, True])
def test_features_too_large_for_the_store_are_failures(packed: bool) -> None:
    sound, large = torch.ones(2, 3), torch.tensor([[1.0, 2.0, 3.0], [4.0, 1e6, 5.0]])
    found = results(forward(packed=packed, store_dtype="float16"), sound, large, sound)
    assert [type(result) for result in found] == [Encoded, Failed, Encoded]
    assert isinstance(found[1], Failed)
    assert (found[1].row, found[1].id) == (1, "1.png")
    assert "too large to be stored as float16" in found[1].reason
    (wide,) = results(forward(packed=packed), large * torch.inf)
    assert isinstance(wide, Failed)
    assert "float16" not in wide.reason


def test_an_image_that_does_not_fit_fails_alone() -> None:
    sound, unfit, no_batch = (torch.full((2, 3), value) for value in (1.0, UNFIT, NO_BATCH))
    made = forward()
    before = made.load([ready(9, sound)])
    batch = made.load([ready(number, image) for number, image in enumerate((sound, unfit, sound))])
    assert made.run(before) == []
    found = [*made.run(batch), *made.finish()]
    assert [(result.row, type(result)) for result in found] == [
        (9, Encoded),
        (0, Encoded),
        (1, Failed),
        (2, Encoded),
    ]
    assert made.run(before) == []
    found = made.run(made.load([ready(3, unfit)]))
    assert [(result.row, type(result)) for result in found] == [(9, Encoded), (3, Failed)]
    for image, reason in ((unfit, "does not fit"), (no_batch, "makes no batch")):
        (failed,) = made.alone(ready(3, image))
        assert isinstance(failed, Failed)
        assert (failed.row, failed.reason) == (3, reason)


@pytest.mark.parametrize("packed", [False, True])
def test_what_a_pooler_returns_is_stored(packed: bool) -> None:
    features = [torch.randn(4, 3) for _ in range(3)]
    for pooler, rows in ((lambda tokens: tokens.mean(0), 1), (lambda tokens: tokens[:2], 2)):
        found = results(forward(packed=packed, pooler=pooler), *features)
        for result, each in zip(found, features, strict=True):
            assert isinstance(result, Encoded)
            assert (result.num_tokens, result.features.shape) == (4, (rows, 3))  # tokens before pooling
            np.testing.assert_array_equal(result.features, pooler(each).reshape(rows, 3).numpy())


@pytest.mark.parametrize(
    "pooler",
    [lambda tokens: tokens.mean(), lambda tokens: tokens[None], len],
    ids=["a number", "three axes", "no tensor"],
)
def test_what_is_no_pooler(pooler: Any) -> None:
    with pytest.raises(VisionComposerError, match=r"must return a tensor \(width,\) or \(rows, width\)"):
        results(forward(pooler=pooler), torch.ones(2, 3))


def test_a_batch_that_is_too_large_says_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Ours, images: list[Tensor]) -> Any:
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(Ours, "__call__", full)
    with pytest.raises(VisionComposerError, match=r"2 images at once do not fit .* smaller batch size"):
        results(forward(), torch.ones(2, 3), torch.ones(2, 3))


class Stream:
    """A stream on which everything has happened already."""

    def wait_event(self, event: Stream) -> None: ...

    def record_event(self) -> Stream:
        return self

    def synchronize(self) -> None: ...


@pytest.mark.parametrize("name", ["clip_vision_model", "qwen2_5_vl_vision", "siglip2_vision_model"])
@torch.inference_mode()
def test_a_job_does_not_wait_for_a_batch_before_the_next(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = compose({"schema": 1, "encoder": tiny.ALL[name]})
    images = [noise_image(64, 48), noise_image(40, 80)]
    read = encoder.preprocessor.read(images)
    rows = [Row(str(i), "folder", "images", f"{i}.png") for i in range(2)]
    ready = [Ready(i, rows[i], images[i].size, read[i], patches=1, num_bytes=1) for i in range(2)]
    want = [features.numpy() for features in encoder.encode(images)]
    forward, device = Forward(encoder, "float32", None), StandIn()
    used: list[bool] = []
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(Tensor, "record_stream", lambda tensor, stream: used.append(device.holds(tensor)))
    device.put([*encoder.parameters(), *encoder.buffers()])
    with device:
        inputs = encoder.preprocessor.finish(read, DEVICE)
        device.waits.clear()
        assert forward.run(Batch(ready, encoder.image_grids(inputs), inputs, arrived=Stream())) == []
        assert not device.waits
        assert used == [True], "memory of the host has no stream"
        results: list[Any] = forward.finish()
    assert [type(result) for result in results] == [Encoded] * 2
    for result, features in zip(results, want, strict=True):
        np.testing.assert_allclose(result.features, features, atol=1e-5 * np.abs(features).max())
