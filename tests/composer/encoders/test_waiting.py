"""The host does not wait for the device in a forward: with a device that is not here, for every family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support import tiny
from support.compare import assert_close
from support.images import noise_image
from support.stand_in import DEVICE, StandIn
from torch import Tensor

from vision_composer import compose
from vision_composer.encoder import ComposedVisionEncoder

OF_TRANSFORMERS = {"got_ocr2_vision": 8, "muse_glimmer_vision": 8}
"""Families whose code in transformers waits in every forward, and how often at their tiny sizes."""
QUICK = {
    *("clip_vision_model", "pixtral", "qwen2_5_vl_vision", "gemma4_vision", "siglip2_vision_model"),
    *("idefics3_vision", "kimi_k25_vision", "mllama_vision_model", "inkling2_vision", "got_ocr2_vision"),
}
each_family = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in tiny.ALL
        if "/" not in name
    ],
)


def on_device(name: str) -> tuple[ComposedVisionEncoder, dict[str, Tensor], StandIn]:
    """A tiny encoder on the device that is not here, and a batch: pixels there, the rest on the host."""
    encoder = compose({"schema": 1, "encoder": tiny.ALL[name]})
    samples = encoder.family.samples(encoder.info, encoder.preprocessor)[:2]
    inputs = encoder.preprocessor.collate([sample.inputs for sample in samples])
    device = StandIn()
    device.put([*encoder.parameters(), *encoder.buffers()])
    device.put(value for value in inputs.values() if value.is_floating_point())
    return encoder, inputs, device


@each_family
@torch.inference_mode()
def test_a_forward_waits_nowhere(name: str) -> None:
    encoder, inputs, device = on_device(name)
    for batch in ("of new sizes", "of the same sizes"):
        with device:
            features = encoder(**inputs)
        waits, expected = device.waits.total(), OF_TRANSFORMERS.get(name, 0)
        assert waits == expected, f"a batch {batch} waits at {dict(device.waits)}"
        assert all(map(device.holds, features))
        device.waits.clear()


@pytest.mark.parametrize(
    ("name", "waits"),
    [("pixtral", 1), ("qwen2_5_vl_vision", 1), ("siglip2_vision_model", 2), ("mllama_vision_model", 2)],
)
@torch.inference_mode()
def test_grids_and_masks_on_the_device_are_read_once_each(name: str, waits: int) -> None:
    encoder, inputs, device = on_device(name)
    device.put(inputs.values())
    with device:
        encoder(**inputs)
    assert device.waits.total() == waits, device.waits


@pytest.mark.parametrize("name", ["clip_vision_model", "qwen2_5_vl_vision", "siglip2_vision_model"])
@torch.inference_mode()
def test_preprocessing_leaves_grids_and_masks_on_the_host(name: str) -> None:
    encoder, _, device = on_device(name)
    read = encoder.preprocessor.read([noise_image(64, 48), noise_image(40, 80)])
    with device:
        inputs = encoder.preprocessor.finish(read, DEVICE)
        device.waits.clear()
        encoder(**inputs)
    assert {key for key, value in inputs.items() if device.holds(value)} == {"pixel_values"}
    assert not device.waits


@pytest.mark.parametrize(
    "name", ["clip_vision_model", "pixtral", "siglip2_vision_model", "mllama_vision_model"]
)
@torch.inference_mode()
def test_some_images_of_a_batch_are_taken_without_waiting(name: str) -> None:
    encoder, inputs, device = on_device(name)
    with device:
        (one,) = encoder.tower(encoder.tower.read(inputs).take([1]))
    assert not device.waits
    assert_close(one, encoder(**inputs)[1])


WAITS: dict[str, Callable[[Tensor], Any]] = {
    "item": lambda there: there[0, 0].item(),
    "int": lambda there: int(there[0, 0]),
    "bool": lambda there: bool((there > 0).any()),
    "tolist": lambda there: there.tolist(),
    "cpu": lambda there: there.cpu(),
    "to": lambda there: there.to("cpu"),
    "mask": lambda there: there[there > 0],
    "nonzero": lambda there: there.nonzero(),
    "list": lambda there: there[[0, 1]],
    "index of the host": lambda there: there[torch.tensor([0, 1])],
    "new tensor": lambda there: torch.tensor([1.0], device=there.device),
    "unpinned": lambda there: torch.ones(2).to(there.device, non_blocking=True),
    "repeats": lambda there: there.repeat_interleave(there[0].long(), dim=1),
}


@pytest.mark.parametrize("how", WAITS)
def test_the_device_that_is_not_here_notices(how: str) -> None:
    there = torch.ones(2, 2)
    device = StandIn()
    device.put([there])
    with device:
        WAITS[how](there)
        assert device.waits.total() == 1
        assert (there + 1)[0].device == DEVICE
        with pytest.raises(AssertionError, match="of a tensor on the host"):
            _ = there + torch.ones(2)
    assert device.waits.total() == 1
