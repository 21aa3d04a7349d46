"""Worker processes: what one image does to its own takes nothing else down."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from PIL import Image
from support.jobs import draw
from support.pools import Loaded, MakeProcesses, Reading, answers, dies_of_red, tasks, too_large
from support.processors import preprocessor

from vision_composer.errors import ImageError
from vision_composer.jobs.pool import Answers
from vision_composer.jobs.processes import ProcessPool


def test_an_image_that_kills_its_worker_fails_alone(processes: MakeProcesses, tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(30)]
    for i, path in enumerate(paths):
        Image.new("RGB", (4, 4), (255 if i in (4, 5, 17) else i, 0, 0)).save(path)
    results = answers(processes(Reading(dies_of_red), 2), tasks(paths, 4))
    dead = [i for i, result in enumerate(results) if isinstance(result, ImageError)]
    assert dead == [4, 5, 17]
    assert str(results[4]) == f"{paths[4]}: the process that decoded it died (signal 11)"
    alive = [
        result.inputs["pixel_values"][0, 0].item() for result in results if not isinstance(result, ImageError)
    ]
    assert alive == [i for i in range(30) if i not in dead]


def test_workers_that_are_killed_are_replaced(processes: MakeProcesses, tmp_path: Path) -> None:
    paths = draw(tmp_path, 60)
    pool = processes(preprocessor().reader, 2)
    results: Answers = []
    for number, (_, some) in enumerate(pool.map(tasks(paths, 4))):
        results += some
        if number in (0, 5, 6):
            os.kill(pool._workers[number % 2]._process, signal.SIGKILL)
    assert [isinstance(result, ImageError) for result in results] == [False] * 60


def state_of(process: int) -> str:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_worker_that_is_killed_while_it_waits_costs_no_image(
    processes: MakeProcesses, tmp_path: Path
) -> None:
    pool = processes(preprocessor().reader, 1)
    results: Answers = []
    for number, (_, some) in enumerate(pool.map(tasks(draw(tmp_path, 6), 1))):
        results += some
        if number == 2:
            (worker,) = pool._workers
            assert worker.channel.poll(60)
            idle = 0
            while idle < 5:  # it sleeps once it has answered all that it was asked
                time.sleep(0.02)
                idle = idle + 1 if state_of(worker._process) == "S" else 0
            os.kill(worker._process, signal.SIGKILL)
            while state_of(worker._process) != "Z":
                time.sleep(0.01)
    assert [isinstance(result, ImageError) for result in results] == [False] * 6


@pytest.mark.slow  # 360 MiB through shared memory
def test_large_inputs_make_the_shared_memory_grow(processes: MakeProcesses, tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for i, path in enumerate(paths):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(path)
    for i, result in enumerate(answers(processes(Reading(too_large), 1), tasks(paths, 1))):
        assert not isinstance(result, ImageError)
        values = result.inputs["pixel_values"]
        assert (values[0].item(), values[-1].item(), len(values)) == (i, i, 30 << 20)
        assert result.inputs["none"].shape == (0,)


def test_the_asking_thread_works_until_workers_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProcessPool(preprocessor().reader, 1) as pool:
        monkeypatch.setattr(pool._nursery, "is_ready", lambda: False)
        assert len(answers(pool, tasks(draw(tmp_path, 5), 2))) == 5


def test_workers_load_neither_torch_nor_transformers_where_pillow_takes_all_steps(
    processes: MakeProcesses, tmp_path: Path
) -> None:
    (answer,) = answers(processes(Loaded(preprocessor().reader), 1), tasks(draw(tmp_path, 1), 1))
    assert not isinstance(answer, ImageError)
    assert answer.inputs["pixel_values"].shape == (1, 3, 40, 40)
    assert answer.inputs["loaded"].tolist() == []
