"""Rows of features, folders of images, jobs and encoders that are small and known, for the tests of jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image

from vision_composer.jobs import read_features
from vision_composer.jobs.encoded import Encoded, Failed
from vision_composer.jobs.inputs import Row
from vision_composer.jobs.job_folder import JobFolder, PartTask, make_folder
from vision_composer.jobs.plan import JobPlan, Output, hash_of, settle_plan

Values: TypeAlias = "dict[str, np.ndarray[Any, Any]]"

SMALL: dict[str, Any] = {
    "schema": 1,
    "encoder": {
        "model_type": "clip_vision_model",
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "image_size": 16,
        "patch_size": 8,
    },
    "select_layers": [-1],
}
"""A tower of random weights."""


def encoded(name: str, features: torch.Tensor, *, row: int = 0) -> Encoded:
    """Features of a tensor (tokens, width) as they are stored."""
    bits = features.contiguous()
    dtype = str(features.dtype).removeprefix("torch.")
    numbers: Any = bits.view(torch.int16).numpy().view(np.uint16) if dtype == "bfloat16" else bits.numpy()
    return Encoded(row, name, "in", (5, 4), (1, 2, 3), len(features), dtype, numbers)


def draw(folder: Path, count: int, *, first: int = 0, size: tuple[int, int] = (20, 14)) -> list[Path]:
    """Write JPEGs of one colour each, named by number."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:06}.jpg" for number in range(first, first + count)]
    for number, path in enumerate(paths, first):
        Image.new("RGB", size, (number % 256, number * 7 % 256, number // 256)).save(path)
    return paths


def values(output: Path) -> Values:
    """The features of a job by the images' ids, each once."""
    rows = list(read_features(output))
    found = dict(rows)
    assert len(found) == len(rows)
    return found


def assert_same(one: Values, other: Values) -> None:
    """The same images in the same order, and every value to the bit."""
    assert list(one) == list(other)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


CONFIG = {"schema": 1}
OUTPUT = Output(store_dtype="float16")


def wanted(**changes: Any) -> JobPlan:
    """What a job is planned with: parts of four images, unless changed."""
    facts: dict[str, Any] = {
        "config": CONFIG,
        "config_hash": hash_of(CONFIG, OUTPUT),
        "weights_hash": "w",
        "output": OUTPUT,
        "inputs": ["in"],
        "inputs_hash": "",
        "num_rows": 1,
        "part_size": 4,
    }
    return JobPlan(**{**facts, **changes})


def planned_job(root: Path, count: int, **changes: Any) -> JobFolder:
    """A job of the images ``0.png``, ``1.png``, and so on, of which nothing is done yet."""
    make_folder(root)
    rows = [Row(f"{number}.png", "in", "file", f"{number}.png") for number in range(count)]
    return JobFolder(root, settle_plan(root, iter(rows), wanted(**changes)))


def finish(job: JobFolder, task: PartTask, *, failing: tuple[int, ...] = ()) -> Path:
    """Do a part of a job: images have two tokens, those of ``failing`` are broken; return its file."""
    unit = job.unit_of(task)
    file = unit.open()
    failures = [Failed(number, row.id, "in", "broken") for number, row in unit.images if number in failing]
    sound = [(number, row) for number, row in unit.images if number not in failing]
    file.write(
        [encoded(row.id, torch.full((2, 3), float(number)).half(), row=number) for number, row in sound]
    )
    unit.close(file, failures)
    return file.path
