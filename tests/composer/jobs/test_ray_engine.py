"""Jobs on a Ray cluster: the same rows and values as on one machine, whoever dies."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.jobs import assert_same, draw, values

from vision_composer import compose
from vision_composer.errors import InputError, MissingDependencyError, VisionComposerError
from vision_composer.jobs import encode_dataset
from vision_composer.jobs.parts import part_files
from vision_composer.jobs.progress import Progress

INSTALLED = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not INSTALLED, reason="ray is not installed; make test-ray runs these")
OPTIONS: dict[str, Any] = {"part_size": 10, "batch_size": 4, "workers": 0}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    draw(folder, 60)
    (folder / "000042.jpg").write_bytes(b"broken")
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


def assert_undisturbed(output: Path, photos: Path) -> None:
    """The rows and values of a run on this machine that nothing disturbs."""
    whole = output.with_name("whole")
    encode_dataset("tiny-digits", [photos], whole, **OPTIONS)
    assert_same(values(output), values(whole))


@pytest.mark.skipif(INSTALLED, reason="ray is installed")
def test_without_ray(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match=r"pip install 'vision-composer\[ray\]'"):
        encode_dataset("tiny-digits", [photos], tmp_path / "out", engine="ray")
    with pytest.raises(InputError, match="engine is 'spark'"):
        encode_dataset("tiny-digits", [photos], tmp_path / "out", engine="spark")  # type: ignore[arg-type]


@needs_ray
@pytest.mark.slow
def test_the_same_rows_and_values(cluster: Any, photos: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    def note(progress: Progress, results: object) -> None:
        seen.append(progress.num_done)

    summary = encode_dataset(
        "tiny-digits", [photos], tmp_path / "out", engine="ray", **OPTIONS, on_progress=note
    )
    assert (summary.num_images, summary.num_failed) == (59, 1)
    assert seen == [10, 20, 30, 40, 50, 60]
    assert_undisturbed(tmp_path / "out", photos)
    draw(photos, 1, first=42)
    again = encode_dataset(
        "tiny-digits", [photos], tmp_path / "out", engine="ray", **OPTIONS, retry_failures=True
    )
    assert (again.num_images, again.num_failed) == (60, 0)


@needs_ray
@pytest.mark.slow
def test_an_actor_that_is_killed_gives_its_part_back(cluster: Any, photos: Path, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill(progress: Progress, _: object) -> None:
        if len(killed) < 2:
            killed.append(actor_process(os.getpid()))
            os.kill(killed[-1], signal.SIGKILL)

    encode_dataset("tiny-digits", [photos], tmp_path / "out", engine="ray", **OPTIONS, on_progress=kill)
    assert len(set(killed)) == 2
    assert_undisturbed(tmp_path / "out", photos)
    assert not list((tmp_path / "out").rglob("*.tmp"))


def actor_process(driver: int) -> int:
    """The process of an actor that is alive, of the cluster that a driver has started."""
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if status.read_bytes().startswith(b"ray::_Actor") and driver in ancestors(status.parent):
                return int(status.parent.name)
        except OSError:
            continue
    raise LookupError("there is no actor")


def ancestors(process: Path) -> Iterator[int]:
    while process.name != "0":
        parent = process.joinpath("stat").read_text().rpartition(")")[2].split()[1]
        yield int(parent)
        process = process.with_name(parent)


def start_driver(photos: Path, output: Path, part_size: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "vision_composer", "encode", "tiny-digits", photos, "-o", output]
    command += ["--engine", "ray", "--part-size", str(part_size), "--batch-size", "4", "--workers", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for_a_part(process: subprocess.Popen[bytes], output: Path) -> None:
    """Wait until one more part is complete, or the process has ended."""
    complete = len(part_files(output / "features"))
    while len(part_files(output / "features")) == complete and process.poll() is None:
        time.sleep(0.01)


@needs_ray
@pytest.mark.slow
def test_a_driver_that_is_killed(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    process = start_driver(photos, output, 10)
    wait_for_a_part(process, output)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    torch.set_num_threads(1)
    encode_dataset("tiny-digits", [photos], output, **OPTIONS)
    assert_undisturbed(output, photos)


@needs_ray
@pytest.mark.slow
def test_killed_often(tmp_path: Path) -> None:
    """Actors at random moments, and in the middle of it once the driver."""
    count = int(os.environ.get("VISION_COMPOSER_KILLED_IMAGES", 1_000))
    kills = int(os.environ.get("VISION_COMPOSER_KILLS", 4))
    part_size = max(count // 100, 10)
    draw(tmp_path / "photos", count)
    output, chance = tmp_path / "out", random.Random(count)
    process = start_driver(tmp_path / "photos", output, part_size)
    killed = []
    while len(killed) < kills:
        # A part costs one actor at most: after it, another must be complete.
        wait_for_a_part(process, output)
        time.sleep(chance.uniform(0, count / 20_000))
        assert process.poll() is None, "the job ended before all kills"
        if len(killed) == kills // 2:
            killed.append(process.pid)
            process.kill()
            process.wait()
            process = start_driver(tmp_path / "photos", output, part_size)
        else:
            with contextlib.suppress(LookupError, ProcessLookupError):
                actor = actor_process(process.pid)
                os.kill(actor, signal.SIGKILL)
                killed.append(actor)
    assert process.wait() == 0
    assert len(set(killed)) == kills
    torch.set_num_threads(1)
    options = {"part_size": part_size, "batch_size": 4, "workers": 0}
    encode_dataset("tiny-digits", [tmp_path / "photos"], tmp_path / "whole", **options)
    assert_same(values(output), values(tmp_path / "whole"))
    assert len(values(output)) == count
    assert not list(output.rglob("*.tmp"))


@needs_ray
@pytest.mark.slow
def test_an_encoder_that_actors_cannot_compose(cluster: Any, photos: Path, tmp_path: Path) -> None:
    encoder = compose("tiny-digits", overrides=["weights.source=null"])
    with pytest.raises(VisionComposerError, match="other weights than the job"):
        encode_dataset(encoder, [photos], tmp_path / "out", engine="ray", **OPTIONS)
    with pytest.raises(VisionComposerError, match="the cluster has 0 GPUs, fewer than 1"):
        encode_dataset("tiny-digits", [photos], tmp_path / "other", engine="ray", num_gpus=1, **OPTIONS)
