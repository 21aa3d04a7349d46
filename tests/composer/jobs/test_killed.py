"""Jobs that are killed with signal 9 at random moments, and finished by running the same command again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from support.jobs import draw

from vision_composer.jobs import encode_dataset, read_features
from vision_composer.jobs.parts import part_files
from vision_composer.jobs.plan import read_plan, rows_file, rows_of_part


def command(photos: Path, output: Path, *options: str) -> list[str]:
    run = [sys.executable, "-m", "vision_composer", "encode", "tiny-digits", str(photos), "-o", str(output)]
    return [*run, "--workers", "2", "--batch-size", "8", *options]


def run_and_kill(run: Sequence[str], output: Path, kills: int, *, seed: int, most: float) -> None:
    """Run a command; as often as asked for, kill it a random time after it went on, then let it end."""
    chance = random.Random(seed)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for _ in range(kills):
        complete = len(part_files(output / "features"))
        process = subprocess.Popen(run, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        # From when it begins to work on a part: what comes before takes most of the time.
        while len(part_files(output / "features")) == complete and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, most))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(run, env=environment, check=True, capture_output=True)


def assert_same_job(one: Path, other: Path, count: int) -> None:
    """Every image exactly once, and every value to the bit."""
    plan = read_plan(one)
    ids = [row.id for part in range(plan.num_parts) for row in rows_of_part(one, plan, part)]
    assert len(ids) == len(set(ids)) == count
    number = 0
    for name, left, right in zip(ids, read_features(one), read_features(other), strict=True):
        assert left[0] == right[0] == name
        np.testing.assert_array_equal(left[1], right[1])
        number += 1
    assert number == count
    assert not list(one.rglob("*.tmp"))
    assert rows_file(one).exists()


def check(tmp_path: Path, count: int, kills: int, *, part_size: int, most: float) -> None:
    draw(tmp_path / "photos", count)
    run = command(tmp_path / "photos", tmp_path / "killed", "--part-size", str(part_size))
    run_and_kill(run, tmp_path / "killed", kills, seed=count, most=most)
    # In this process, with as many threads and images a batch: no worker has a part in it.
    torch.set_num_threads(1)
    options = {"part_size": part_size, "batch_size": 8, "workers": 0}
    encode_dataset("tiny-digits", [tmp_path / "photos"], tmp_path / "whole", **options)
    assert_same_job(tmp_path / "killed", tmp_path / "whole", count)


@pytest.mark.slow  # whole processes
def test_killed_once(tmp_path: Path) -> None:
    check(tmp_path, 300, 1, part_size=20, most=0.2)


@pytest.mark.slow
def test_killed_often(tmp_path: Path) -> None:
    count = int(os.environ.get("VISION_COMPOSER_KILLED_IMAGES", 2_000))
    check(tmp_path, count, 10, part_size=max(count // 100, 10), most=1.0)
