"""How far a run is: rates, the time left and what holds it up, also for those who watch from elsewhere."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vision_composer.jobs import progress as module
from vision_composer.jobs.progress import Progress, Reporter, duration, read_reports


def progress(**facts: Any) -> Progress:
    return Progress(**{"time": time.time(), "num_rows": 100, **facts})


def test_rates_and_the_time_left() -> None:
    run = progress(num_done=40, num_tokens=200, seconds=8.0)
    assert (run.images_per_second, run.tokens_per_second, run.seconds_left) == (5.0, 25.0, 12.0)
    assert run.line().startswith("5.0 images/s, 25 tokens/s, 0:12 left; bound by forward: ")


def test_a_run_that_has_only_begun() -> None:
    run = progress()
    assert (run.images_per_second, run.tokens_per_second, run.seconds_left) == (0.0, 0.0, None)
    assert run.line().startswith("0.0 images/s, 0 tokens/s; bound by ")


@pytest.mark.parametrize(
    ("images", "writing", "bound", "advice"),
    [
        (5.1, 0.0, "decode", "more --workers, or the extra numba if images are large, would help"),
        (0.0, 5.1, "write", "--store-dtype float16"),
        (4.0, 2.9, "decode", "more --workers"),
        (2.9, 4.0, "write", "--store-dtype float16"),
        (3.3, 3.3, "forward", "a larger --batch-size"),
    ],
)
def test_what_takes_the_most_time(images: float, writing: float, bound: str, advice: str) -> None:
    run = progress(seconds=10.0, waits_for_images=images, waits_for_writing=writing)
    assert run.bound == bound
    assert f"bound by {bound}: " in run.line()
    assert advice in run.line()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00"), (59.6, "1:00"), (754, "12:34"), (3600, "1:00:00"), (90_061, "25:01:01")],
)
def test_a_time_as_a_person_reads_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_report_is_read_elsewhere_until_the_run_ends(tmp_path: Path) -> None:
    reporter = Reporter(tmp_path / ".shard-0-of-2.progress")
    run = progress(num_done=3)
    reporter(run)
    assert read_reports(tmp_path) == [run]
    reporter.close()
    assert read_reports(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_report_is_written_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((50.0, 50.9, 51.0))
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock), time=time.time))
    reporter = Reporter(tmp_path / ".a.progress")
    seen = []
    for done in (1, 2, 3):
        reporter(progress(num_done=done))
        seen += [run.num_done for run in read_reports(tmp_path)]
    assert seen == [1, 1, 3]


def test_a_folder_that_takes_no_report_ends_no_job(tmp_path: Path) -> None:
    Reporter(tmp_path / "gone" / ".a.progress")(progress())


def test_reports_that_say_nothing_now(tmp_path: Path) -> None:
    (tmp_path / ".old.progress").write_text(progress(time=time.time() - 31).model_dump_json())
    (tmp_path / ".broken.progress").write_text("{")
    (tmp_path / ".other.progress").write_text('{"time": 1.0, "num_rows": 1, "colour": "red"}')
    (tmp_path / ".large.progress").write_text(progress().model_dump_json() + " " * (1 << 16))
    (tmp_path / ".folder.progress").mkdir()
    (tmp_path / ".new.progress").write_text(progress(time=time.time() - 29).model_dump_json())
    assert len(read_reports(tmp_path)) == 1
