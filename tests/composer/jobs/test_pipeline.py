"""Images through an encoder into files: all in their order, whatever shares a batch, and whatever fails."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import tiny
from support.compare import assert_close
from support.jobs import SMALL, draw, values, wanted

from vision_composer import compose
from vision_composer.encoder import ComposedVisionEncoder
from vision_composer.errors import InputError, VisionComposerError
from vision_composer.jobs import encode_dataset
from vision_composer.jobs.batches import Limits
from vision_composer.jobs.encoded import Encoded, Failed
from vision_composer.jobs.forward import Forward
from vision_composer.jobs.inputs import Row
from vision_composer.jobs.job_folder import open_file
from vision_composer.jobs.pipeline import Pipeline
from vision_composer.jobs.pool import ThreadedPool
from vision_composer.jobs.preparing import Prepared
from vision_composer.jobs.unit import Unit
from vision_composer.jobs.writers import FeatureFile


@pytest.fixture(scope="module")
def encoder() -> ComposedVisionEncoder:
    return compose(SMALL)


def test_packed_images_of_many_sizes(tmp_path: Path) -> None:
    encoder = compose(tiny.config("qwen2_5_vl_vision"))
    for i in range(24):
        Image.new("RGB", (30 + 17 * (i * 7 % 11), 30 + 13 * (i % 5)), (i, 0, 9 * i)).save(
            tmp_path / f"{i:02}.png"
        )
    paths = sorted(tmp_path.glob("*.png"))
    sizes: list[int] = []
    encoder.register_forward_pre_hook(
        lambda module, args, inputs: sizes.append(len(inputs["image_grid_thw"])), with_kwargs=True
    )
    encode_dataset(encoder, [tmp_path], tmp_path / "out", batch_tokens=2000, workers=0)
    assert max(sizes) > 1
    assert len(sizes) > 2
    back = values(tmp_path / "out")
    assert list(back) == list(map(str, paths))
    assert_close(list(back.values()), encoder.encode(paths, batch_size=1))


class Units:
    """Units of some image files each, and what they were closed with."""

    def __init__(self, folder: Path, encoder: ComposedVisionEncoder, *paths: list[Path]) -> None:
        self.folder = folder
        self.encoder = encoder
        self.paths = paths
        self.results: list[list[int]] = []
        self.failures: dict[int, list[int]] = {}
        self.files: list[FeatureFile] = []

    def open(self) -> FeatureFile:
        self.files.append(open_file(self.folder / f"{len(self.files)}.parquet", wanted(), 100))
        return self.files[-1]

    def unit(self, number: int) -> Unit:
        first = sum(map(len, self.paths[:number]))
        rows = [Row(path.name, "in", "file", str(path)) for path in self.paths[number]]

        def close(file: FeatureFile, failures: list[Failed]) -> None:
            self.failures[number] = [failed.row for failed in failures]
            file.finish()
            file.publish()

        return Unit(number, list(enumerate(rows, first)), self.open, close)

    def run(self, *, images: int = 3) -> None:
        def note(results: list[Encoded | Failed]) -> None:
            self.results.append([result.row for result in results])

        limits = Limits(images, 10**6)
        with ThreadedPool(self.encoder.preprocessor.reader, 2) as pool:
            pipeline = Pipeline(self.encoder, pool, Forward(self.encoder, "float32", None), limits, 1)
            pipeline.run(map(self.unit, range(len(self.paths))), note)


def test_every_unit_is_closed_with_its_own_failures(encoder: ComposedVisionEncoder, tmp_path: Path) -> None:
    paths = draw(tmp_path, 60)
    for number in (0, 31, 59):
        paths[number].write_bytes(b"broken")
    units = Units(tmp_path, encoder, paths[:30], [], paths[30:31], paths[31:32], paths[32:])
    units.run()
    # A unit without images has no file; one without any that can be read has one.
    assert units.failures == {0: [0], 2: [], 3: [31], 4: [59]}
    assert [file.num_images for file in units.files] == [29, 1, 0, 27]
    assert [row for window in units.results for row in window] == list(range(60))
    assert all(window == sorted(window) for window in units.results)
    assert len(units.results) > 4  # windows are smaller than units
    found = dict(pair for number in range(4) for pair in values(tmp_path / f"{number}.parquet").items())
    assert list(found) == [path.name for number, path in enumerate(paths) if number not in (0, 31, 59)]
    assert_close(list(found.values()), encoder.encode([tmp_path / name for name in found]))


def test_images_that_make_no_batch_together_are_tried_alone(
    encoder: ComposedVisionEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, sizes = encoder.preprocessor.finish, []

    def refuse(read: Any, *arguments: Any) -> Any:
        sizes.append(len(read))
        if len(read) > 1 or sizes == [3, 1]:
            raise InputError("no batch")
        return finish(read, *arguments)

    monkeypatch.setattr(encoder.preprocessor, "finish", refuse)
    units = Units(tmp_path, encoder, draw(tmp_path, 3))
    units.run()
    assert sizes == [3, 1, 1, 1]
    assert units.failures == {0: [0]}
    assert list(values(tmp_path / "0.parquet")) == ["000001.jpg", "000002.jpg"]


def test_an_encoder_that_fails_leaves_no_file(
    encoder: ComposedVisionEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = Units(tmp_path / "out", encoder, draw(tmp_path, 60))
    (tmp_path / "out").mkdir()
    runs = iter(range(100))
    forward = encoder.forward

    def fail(**inputs: Any) -> Any:
        if next(runs) == 15:  # when the first window is being written
            raise ZeroDivisionError("a mistake")
        return forward(**inputs)

    monkeypatch.setattr(encoder, "forward", fail)
    with pytest.raises(ZeroDivisionError):
        units.run()
    assert units.failures == {}
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_that_cannot_be_written_ends_the_run(
    encoder: ComposedVisionEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise VisionComposerError("no space left")

    units = Units(tmp_path / "out", encoder, draw(tmp_path, 200))
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(FeatureFile, "write", full)
    with pytest.raises(VisionComposerError, match="no space left"):
        units.run()
    assert list((tmp_path / "out").iterdir()) == []
    assert sum(map(len, units.results)) < 200  # the rest is not encoded for nothing


def test_a_task_has_one_clip_at_most() -> None:
    kinds = ["file"] * 9 + ["clip"] * 2 + ["file"] * 2
    rows = [Row(str(i), "in", kind, str(i)) for i, kind in enumerate(kinds)]
    asked: deque[tuple[Unit, list[int]]] = deque()

    def never(*_: object) -> Any:
        raise AssertionError("no file is needed to make tasks")

    unit = Unit(0, list(enumerate(rows, 5)), never, never)
    made: Any = SimpleNamespace(_task_size=8)
    tasks = list(Pipeline._tasks(made, [unit], asked))
    assert [[row.id for row, _ in task] for task in tasks] == [
        list("01234567"),
        ["8", "9"],
        ["10"],
        ["11", "12"],
    ]
    assert [numbers for _, numbers in asked] == [list(range(5, 13)), [13, 14], [15], [16, 17]]


@pytest.mark.parametrize(("num_bytes", "length"), [(1 << 10, 32), (1 << 20, 8), (1 << 25, 1)])
def test_tasks_are_as_long_as_their_images_are_small(
    num_bytes: int, length: int, encoder: ComposedVisionEncoder
) -> None:
    with ThreadedPool(encoder.preprocessor.reader, 1) as pool:
        made = Pipeline(encoder, pool, Forward(encoder, "float32", None), Limits(3, 10**6), 1)
    rows = [(i, Row(str(i), "in", "file", str(i))) for i in range(100)]
    files: Any = None  # none is opened
    tasks = made._tasks([Unit(0, rows, files, files)], deque())
    assert len(next(tasks)) == 8, "nothing is known of the images yet"
    made._ready(*rows[0], Prepared((9, 9), {"pixel_values": np.empty(num_bytes, np.uint8)}))
    assert len(next(tasks)) == length
