"""Jobs on a Ray cluster: the same rows and values as on one machine, whoever dies."""

from __future__ import annotations

import importlib.util
import os
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
            killed.append(actor_process())
            os.kill(killed[-1], signal.SIGKILL)

    encode_dataset("tiny-digits", [photos], tmp_path / "out", engine="ray", **OPTIONS, on_progress=kill)
    assert len(set(killed)) == 2
    assert_undisturbed(tmp_path / "out", photos)
    assert not list((tmp_path / "out").rglob("*.tmp"))


def actor_process() -> int:
    """The process of the actor that is alive."""
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if status.read_bytes().startswith(b"ray::_Actor"):
                return int(status.parent.name)
        except OSError:
            continue
    raise AssertionError("there is no actor")


@needs_ray
@pytest.mark.slow
def test_a_driver_that_is_killed(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "vision_composer",
        "encode",
        "tiny-digits",
        str(photos),
        "-o",
        str(output),
    ]
    command += ["--engine", "ray", "--part-size", "10", "--batch-size", "4", "--workers", "0"]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    while len(part_files(output / "features")) < 2 and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert process.returncode == -signal.SIGKILL
    torch.set_num_threads(1)
    encode_dataset("tiny-digits", [photos], output, **OPTIONS)
    assert_undisturbed(output, photos)


@needs_ray
@pytest.mark.slow
def test_an_encoder_that_actors_cannot_compose(cluster: Any, photos: Path, tmp_path: Path) -> None:
    encoder = compose("tiny-digits", overrides=["weights.source=null"])
    with pytest.raises(VisionComposerError, match="other weights than the job"):
        encode_dataset(encoder, [photos], tmp_path / "out", engine="ray", **OPTIONS)
    with pytest.raises(VisionComposerError, match="the cluster has 0 GPUs, fewer than 1"):
        encode_dataset("tiny-digits", [photos], tmp_path / "other", engine="ray", num_gpus=1, **OPTIONS)
