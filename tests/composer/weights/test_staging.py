"""Tensors go straight to their device: whole, through little pinned memory, one at a time."""

from __future__ import annotations

import ctypes
import resource
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import save_file
from support.checkpoints import ENCODER, HOST, rewrite
from support.measured import measured
from support.slow_copies import SlowCopies

from vision_composer import plan
from vision_composer.encoders import family_of
from vision_composer.errors import BackendError, WeightsError
from vision_composer.weights import checkpoint, load_model, staging
from vision_composer.weights.staging import Staging
from vision_composer.weights.tensors import Unread

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
TENSORS = {
    "several parts": torch.arange(35, dtype=torch.int16),
    "one part": torch.arange(16, dtype=torch.uint8),
    "two parts": torch.arange(8.0),
    "nothing": torch.empty(0, 3),
    "one number": torch.tensor(2.5, dtype=torch.float64),
    "of a dtype that numpy lacks": torch.arange(9).bfloat16().view(3, 3),
    "turned": torch.arange(12.0).view(3, 4).T,
}


def test_tensors_arrive_whole_at_a_device_that_copies_late(monkeypatch: pytest.MonkeyPatch) -> None:
    device = SlowCopies(monkeypatch)
    monkeypatch.setattr(staging, "HALF", 16)
    with Staging(CUDA) as way:
        sent = {name: way.send(tensor) for name, tensor in TENSORS.items()}
        assert len(device.on_way) == 2, "a part is read while the device copies the one before"
    assert device.pinned_bytes == 2 * 16
    for name, tensor in TENSORS.items():
        assert (sent[name].dtype, sent[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(sent[name], tensor), name


def test_on_the_cpu_a_tensor_stays_where_it_is() -> None:
    assert HOST.send(TENSORS["turned"]) is TENSORS["turned"]
    assert Staging(torch.device("meta")).send(TENSORS["turned"]).is_meta


def test_one_thread_reads_at_a_time_and_none_after_the_end() -> None:
    reading = 0

    def read() -> torch.Tensor:
        nonlocal reading
        reading += 1
        assert reading == 1
        made = torch.ones(1_000).cumsum(0)
        reading -= 1
        return made

    with Staging(CPU) as way, ThreadPoolExecutor(4) as pool:
        unread = Unread(read, way)
        made = list(pool.map(lambda _: unread[...].to(device="cpu", dtype=torch.float16), range(200)))
    assert {tensor.dtype for tensor in made} == {torch.float16}
    with pytest.raises(RuntimeError, match="the checkpoint is read"):
        unread.to(device="cpu", dtype=torch.float16)


def model(
    source: Path | str | None, device: torch.device, encoder: dict[str, Any] = ENCODER, **weights: Any
) -> Any:
    weights["source"] = source and str(source)
    planned = plan({"schema": 1, "encoder": encoder, "weights": weights})
    return load_model(
        family_of(planned.encoder),
        planned.encoder,
        planned.config.weights,
        num_blocks=planned.num_blocks,
        post_norm=True,
        head=False,
        dtype=getattr(torch, planned.dtype),
        attn_implementation="eager",
        device=device,
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("format", ["safetensors", "pickle"])
def test_a_tower_is_read_to_a_device_as_to_the_cpu(
    folder: Path, format: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if format == "pickle":
        rewrite(folder, lambda tensors: torch.save(tensors, folder / "pytorch_model.bin") or tensors)
    expected = model(folder, CPU, format=format, dtype=dtype)
    monkeypatch.setattr(staging, "HALF", 1_000)
    device = SlowCopies(monkeypatch, late=False)
    there = model(folder, CUDA, format=format, dtype=dtype)
    assert device.pinned_bytes == 2_000
    made = dict([*there.named_parameters(), *there.named_buffers()])
    for name, tensor in [*expected.named_parameters(), *expected.named_buffers()]:
        assert torch.equal(made.pop(name), tensor), name
    assert not made


def test_what_is_not_finite_on_a_device_is_refused_by_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite(folder, lambda tensors: tensors | {(name := sorted(tensors)[3]): tensors[name] * torch.nan})
    SlowCopies(monkeypatch, late=False)
    with pytest.raises(WeightsError, match=r"model\.safetensors: tensor \S+ holds NaN or infinity"):
        model(folder, CUDA)


def test_random_weights_are_made_on_the_device() -> None:
    there = model(None, torch.device("meta"))
    assert all(parameter.is_meta for parameter in there.parameters())


def test_a_model_that_can_be_built_on_the_cpu_alone_is(monkeypatch: pytest.MonkeyPatch) -> None:
    build = checkpoint._build

    def on_cpu_alone(*given: Any, **options: Any) -> Any:
        if torch.get_default_device().type != "cpu":
            raise BackendError("tensors on cpu and meta")
        return build(*given, **options)

    monkeypatch.setattr(checkpoint, "_build", on_cpu_alone)
    assert not any(parameter.is_meta for parameter in model(None, torch.device("meta")).parameters())
    monkeypatch.setattr(checkpoint, "_build", Mock(side_effect=BackendError("not at all")))
    for device in (CPU, torch.device("meta")):
        with pytest.raises(BackendError, match="not at all"):
            model(None, device)
    assert checkpoint._build.call_count == 1 + 2


LARGE = ENCODER | {"hidden_size": 1_024, "intermediate_size": 4_096, "num_hidden_layers": 6}
ROOM = 100 << 20
"""Bytes for the largest tensor, the pinned buffer, the stacks of threads, and what torch keeps."""
M_MMAP_THRESHOLD = -3
"""malloc's parameter: blocks of more bytes are given back when they are freed, whatever thread took them."""


def load_within(folder: str, memory: str, device: torch.device, room: int) -> None:
    """Load with ``room`` bytes of memory more than the process has; files that are mapped do not count."""
    model(None, torch.device("meta"))  # imports what is needed
    # What torch, malloc and threads keep depends on the number of cores; what is held by tensors does not.
    torch.set_num_threads(1)
    threading.stack_size(1 << 20)
    assert ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 20)
    with pytest.MonkeyPatch.context() as monkeypatch:
        if device == CUDA:
            SlowCopies(monkeypatch, late=False, memory=Path(memory))
        (used,) = (
            int(line.split()[1]) << 10
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("VmData")
        )
        resource.setrlimit(resource.RLIMIT_DATA, (used + room, used + room))
        loaded = model(folder, device, LARGE, dtype="float32" if device == CUDA else "bfloat16")
    assert all((parameter == 1).all() for parameter in loaded.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
def test_the_host_holds_one_tensor_at_a_time(device: torch.device, tmp_path: Path) -> None:
    shapes = model(None, torch.device("meta"), LARGE).state_dict()
    source, memory = tmp_path / "x.safetensors", tmp_path / "device"
    save_file({name: torch.ones(tensor.shape) for name, tensor in shapes.items()}, source)
    memory.mkdir()
    size = source.stat().st_size
    assert size > 300_000_000
    kept = 0 if device == CUDA else size // 2  # in bfloat16
    outcome = measured(load_within, str(source), str(memory), device, kept + ROOM, seconds=120)
    assert not outcome.error, outcome
    outcome = measured(load_within, str(source), str(memory), device, kept, seconds=120)
    assert outcome.error
