"""The device of a rank, with accelerators that are not here."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from support import tiny
from support.gpus import Accelerators

from vision_composer import compose
from vision_composer.errors import InputError
from vision_composer.parallel import device_of_rank, join_group


@pytest.mark.parametrize(
    ("local_rank", "asked", "devices", "current", "expected"),
    [
        ("2", None, 4, 0, "cuda:2"),
        ("2", "cuda", 4, 0, "cuda:2"),
        ("2", torch.device("cuda"), 4, 0, "cuda:2"),
        ("2", "cuda:1", 4, 0, "cuda:1"),
        ("2", "cpu", 4, 0, "cpu"),
        ("2", None, 4, 3, "cuda:3"),  # the program has called set_device
        ("2", None, 1, 0, "cuda:0"),  # every process sees one device, its own
        ("9", None, 4, 0, "cuda:9"),  # and composing says that it is not there
        (None, None, 4, 0, "None"),
        (None, "cuda", 4, 0, "cuda"),
        ("2", None, 0, 0, "None"),
        ("2", "cuda", 0, 0, "cuda"),
    ],
)
def test_a_rank_takes_the_accelerator_of_its_number(
    local_rank: str | None,
    asked: torch.device | str | None,
    devices: int,
    current: int,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accelerators = Accelerators(monkeypatch, devices, current, local_rank)
    assert str(device_of_rank(asked)) == expected
    assert accelerators.current == (2 if expected == "cuda:2" else current)


def test_a_default_device_that_was_chosen_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    Accelerators(monkeypatch, 4, 0, "2")
    with torch.device("meta"):
        assert device_of_rank(None) is None
    monkeypatch.setattr(torch, "get_default_device", lambda: torch.device("cuda:1"))
    assert device_of_rank(None) is None
    monkeypatch.setattr(torch, "get_default_device", lambda: torch.device("cuda:0"))
    assert device_of_rank(None) == torch.device("cuda:2")


@pytest.mark.parametrize(("devices", "backends"), [(4, "cpu:gloo,cuda:nccl"), (0, "gloo")])
def test_torchrun_gets_a_backend_for_features_and_one_for_messages(
    devices: int, backends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Accelerators(monkeypatch, devices, 0, "0")
    asked: list[str] = []
    monkeypatch.setattr(dist, "is_torchelastic_launched", lambda: True)
    monkeypatch.setattr(dist, "init_process_group", asked.append)
    monkeypatch.setenv("WORLD_SIZE", "2")
    join_group(None)
    assert asked == [backends]


def test_a_world_of_one_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "is_torchelastic_launched", lambda: True)
    monkeypatch.setattr(dist, "init_process_group", lambda *_: pytest.fail("a group was made"))
    monkeypatch.setenv("WORLD_SIZE", "1")
    keys = {"schema": 1, "encoder": tiny.ENCODERS["clip_vision_model"], "parallel": {"mode": "data"}}
    assert compose(keys).parallel is None


def test_compose_asks_for_the_device_of_the_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    Accelerators(monkeypatch, 4, 0, "2")
    keys = {"schema": 1, "encoder": tiny.ENCODERS["clip_vision_model"]}
    assert compose(keys).device.type == "cpu"
    with pytest.raises(InputError, match="device 'cuda:2' cannot be used here"):
        compose(keys, overrides=["parallel={mode: data}"])
