"""The engine of this process: what it is told is checked, and the rest follows from the machine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.jobs import SMALL, assert_same, draw, values
from support.pools import started as started_pool

from vision_composer import compose
from vision_composer.errors import InputError
from vision_composer.jobs import encode_dataset, local
from vision_composer.jobs.batches import Limits
from vision_composer.jobs.local import Running
from vision_composer.jobs.processes import ProcessPool


def test_workers_change_no_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "photos", 30)
    (tmp_path / "photos" / "000013.jpg").write_bytes(b"broken")
    encoder = compose(SMALL)
    options: dict[str, Any] = {"part_size": 16, "batch_size": 5}
    encode_dataset(encoder, [tmp_path / "photos"], tmp_path / "threads", workers=0, **options)
    started: list[ProcessPool] = []

    def noted(*arguments: Any) -> ProcessPool:
        started.append(started_pool(*arguments))
        monkeypatch.setattr(started[0], "close", lambda: None)
        return started[0]

    monkeypatch.setattr(local, "ProcessPool", noted)
    encode_dataset(encoder, [tmp_path / "photos"], tmp_path / "processes", workers=2, **options)
    assert [len(pool._workers) for pool in started] == [2]
    monkeypatch.undo()
    started[0].close()
    assert_same(values(tmp_path / "threads"), values(tmp_path / "processes"))
    assert len(values(tmp_path / "threads")) == 29


@pytest.mark.parametrize(("name", "least"), [("workers", 0), ("batch_size", 1), ("batch_tokens", 1)], ids=str)
def test_numbers_that_are_too_small(name: str, least: int) -> None:
    Running(**{name: least})
    with pytest.raises(InputError, match=f"{name} is {least - 1}; it must be at least {least}"):
        Running(**{name: least - 1})


@pytest.mark.parametrize(
    ("running", "cpu", "cuda"),
    [
        (Running(), Limits(32, 8192), Limits(256, 65536)),
        (Running(batch_tokens=7), Limits(32, 7), Limits(256, 7)),
        (Running(batch_size=3, batch_tokens=7), Limits(3, 7), Limits(3, 7)),
    ],
    ids=str,
)
def test_batches_are_as_large_as_the_device_takes(running: Running, cpu: Limits, cuda: Limits) -> None:
    for device, expected in (("cpu", cpu), ("cuda", cuda)):
        encoder: Any = SimpleNamespace(device=torch.device(device))
        assert running.limits(encoder) == expected


def test_a_batch_size_alone_is_not_cut_by_tokens() -> None:
    encoder: Any = SimpleNamespace(device=torch.device("cpu"))
    limits = Running(batch_size=1000).limits(encoder)
    assert limits.images == 1000
    assert limits.tokens > 1000 * 2**20


def test_few_images_are_not_worth_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, workers in ((3, 3), (64, 16)):
        monkeypatch.setattr(local, "num_cores", lambda cores=cores: cores)
        assert [Running().num_workers(rows) for rows in (255, 256)] == [0, workers]
        assert Running(workers=5).num_workers(1) == 5
        assert Running(workers=0).num_workers(10**6) == 0
