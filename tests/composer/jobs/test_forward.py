"""Batches of a job on a device that is not here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support import tiny
from support.images import noise_image
from support.stand_in import DEVICE, StandIn
from torch import Tensor

from vision_composer import compose
from vision_composer.jobs.batches import Ready
from vision_composer.jobs.encoded import Encoded
from vision_composer.jobs.forward import Batch, Forward
from vision_composer.jobs.inputs.row import Row


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
