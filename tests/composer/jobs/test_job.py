"""A job: whatever ends it, every image is there once afterwards, with the values of an undisturbed run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from support import tiny
from support.compare import assert_close
from support.jobs import SMALL, assert_same, draw, values

from vision_composer import compose
from vision_composer.encoder import ComposedVisionEncoder
from vision_composer.errors import InputError, VisionComposerError
from vision_composer.jobs import EncodeSummary, encode_dataset, writers
from vision_composer.jobs.encoded import Encoded
from vision_composer.jobs.progress import Progress


@pytest.fixture(scope="module")
def encoder() -> ComposedVisionEncoder:
    return compose(SMALL)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A hundred images, of which two are broken."""
    draw(tmp_path / "photos", 100)
    for number in (13, 77):
        (tmp_path / "photos" / f"{number:06}.jpg").write_bytes(b"broken")
    return tmp_path / "photos"


@pytest.fixture
def run(encoder: ComposedVisionEncoder, photos: Path, tmp_path: Path) -> Callable[..., EncodeSummary]:
    def run(output: str = "out", **options: Any) -> EncodeSummary:
        options = {"part_size": 16, "batch_size": 5, "workers": 0, **options}
        return encode_dataset(encoder, [photos], tmp_path / output, **options)

    return run


def failures(output: Path) -> list[str]:
    return [Path(row["id"]).name for row in pq.read_table(output / "failures.parquet").to_pylist()]


def test_features_are_the_encoders_own(
    encoder: ComposedVisionEncoder, run: Callable[..., EncodeSummary], photos: Path, tmp_path: Path
) -> None:
    summary = run()
    sound = [path for path in sorted(photos.iterdir()) if path.name not in ("000013.jpg", "000077.jpg")]
    back = values(tmp_path / "out")
    assert list(back) == [str(path) for path in sound]
    assert_close(list(back.values()), encoder.encode(sound))
    assert (summary.num_images, summary.num_failed, summary.num_tokens) == (98, 2, 98 * 5)
    assert summary.failures == tmp_path / "out" / "failures.parquet"
    assert failures(tmp_path / "out") == ["000013.jpg", "000077.jpg"]
    names = sorted(path.name for path in (tmp_path / "out").iterdir() if path.name[0] != ".")
    assert names == ["failures.parquet", "features", "job.json", "rows.parquet"]
    table = pq.read_table(tmp_path / "out" / "features")
    assert table["row"].to_pylist() == [row for row in range(100) if row not in (13, 77)]
    assert table["size"].to_pylist() == [[20, 14]] * 98
    assert table["grid"].to_pylist() == [[1, 2, 2]] * 98


class StopError(Exception):
    """What ends a run in these tests."""


@pytest.mark.parametrize("problem", [StopError, KeyboardInterrupt])
def test_what_ends_a_run_costs_the_part_it_was_in(
    run: Callable[..., EncodeSummary], tmp_path: Path, problem: type[BaseException]
) -> None:
    run("whole")
    for stops_at in (30, 30, 10):

        def stop(progress: Progress, _: object, stops_at: int = stops_at) -> None:
            if progress.num_done >= stops_at:
                raise problem

        with pytest.raises(problem):
            run(on_progress=stop)
        assert list((tmp_path / "out").rglob("*.tmp")) == []
    begun: list[int] = []
    run(on_progress=lambda progress, _: begun.append(progress.num_rows))
    assert set(begun) <= {16 * parts for parts in range(1, 7)} | {4 + 16 * parts for parts in range(7)}
    assert begun[0] < 100
    assert_same(values(tmp_path / "out"), values(tmp_path / "whole"))
    assert failures(tmp_path / "out") == failures(tmp_path / "whole")


def test_nothing_is_done_twice(run: Callable[..., EncodeSummary], tmp_path: Path) -> None:
    first = run()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
    again = run(on_progress=lambda *_: pytest.fail("an image was encoded again"))
    assert (again.num_images, again.num_failed) == (first.num_images, first.num_failed)
    for path, changed in before.items():
        assert path.name == "failures.parquet" or path.stat().st_mtime_ns == changed


@pytest.mark.parametrize("parts", [3, 4, 5, 6])
def test_a_full_disk(
    parts: int, run: Callable[..., EncodeSummary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush, flushed = writers.FeatureFile._flush, 0

    def full(self: Any) -> None:
        nonlocal flushed
        flushed += 1
        if flushed == parts:
            raise self.cannot_write(OSError(28, "No space left on device"))
        flush(self)

    with monkeypatch.context() as patched:
        patched.setattr(writers.FeatureFile, "_flush", full)
        with pytest.raises(VisionComposerError, match=r"cannot be written: No space left on device"):
            run()
    assert len(list((tmp_path / "out" / "features").iterdir())) == parts - 1
    run()
    run("whole")
    assert_same(values(tmp_path / "out"), values(tmp_path / "whole"))


def test_a_part_that_was_cut_short_is_made_again(run: Callable[..., EncodeSummary], tmp_path: Path) -> None:
    run("whole")
    run()
    for name, size in (("part-00001.parquet", 0), ("part-00003.parquet", 500)):
        path = tmp_path / "out" / "features" / name
        path.write_bytes(path.read_bytes()[:size])
    (tmp_path / "out" / "features" / ".part-00009.parquet.1-1.tmp").touch()
    assert len(values(tmp_path / "out")) == 98 - 16 - 16
    run()
    assert_same(values(tmp_path / "out"), values(tmp_path / "whole"))
    assert len(list((tmp_path / "out" / "features").iterdir())) == 7


def test_shards_are_the_job(run: Callable[..., EncodeSummary], tmp_path: Path) -> None:
    run("whole")
    sizes = [run(shard=(index, 3)).num_images for index in range(3)]
    assert (sum(sizes), len(set(sizes))) == (98, 3)
    assert_same(values(tmp_path / "out"), values(tmp_path / "whole"))
    assert failures(tmp_path / "out") == failures(tmp_path / "whole")
    assert run().num_images == 98
    for shard in ((3, 3), (-1, 2), (0, 0)):
        with pytest.raises(InputError, match="there is no shard"):
            run(shard=shard)
    with pytest.raises(InputError, match="a shard cannot overwrite a job"):
        run(shard=(0, 3), overwrite=True)
    assert_same(values(tmp_path / "out"), values(tmp_path / "whole"))


def test_torchrun_shards_by_itself(
    run: Callable[..., EncodeSummary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        run()
    run("whole", shard=(0, 1))
    assert_same(values(tmp_path / "out"), values(tmp_path / "whole"))


def test_one_process_at_a_time(run: Callable[..., EncodeSummary]) -> None:
    def again(*_: object) -> None:
        run(shard=(1, 2))
        with pytest.raises(InputError, match="another process works on this job"):
            run(shard=(0, 2))

    run(shard=(0, 2), on_progress=again)


def test_failures_are_retried(run: Callable[..., EncodeSummary], photos: Path, tmp_path: Path) -> None:
    run()
    draw(photos, 1, first=13)
    assert run().num_failed == 2
    assert run(retry_failures=True).num_failed == 1
    back = values(tmp_path / "out")
    assert len(back) == 99
    assert failures(tmp_path / "out") == ["000077.jpg"]
    draw(photos, 1, first=77)
    summary = run(retry_failures=True)
    assert (summary.num_images, summary.num_failed, summary.failures) == (100, 0, None)
    assert not (tmp_path / "out" / "failures.parquet").exists()
    run("whole")
    whole = values(tmp_path / "whole")
    back = values(tmp_path / "out")
    assert back.keys() == whole.keys()
    for name in back:
        assert_close(back[name], whole[name])
    # A part that is made again has what its retries found.
    (tmp_path / "out" / "features" / "part-00000.parquet").write_bytes(b"")
    run()
    back = values(tmp_path / "out")
    assert list(back) == list(whole)[:16] + [name for name in back if name not in list(whole)[:16]]
    assert_same(dict(list(back.items())[:16]), dict(list(whole.items())[:16]))


def test_too_many_failures(
    run: Callable[..., EncodeSummary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_slowly(file: writers.FeatureFile, rows: Sequence[Encoded]) -> None:
        time.sleep(0.02)
        write(file, rows)

    # The part before still waits to be written when the failure is found.
    write = writers.FeatureFile.write
    monkeypatch.setattr(writers.FeatureFile, "write", write_slowly)
    with pytest.raises(VisionComposerError, match=r"2 images failed, more than the 1 .*000077.jpg: not an"):
        run(max_failures=1)
    assert len(values(tmp_path / "out")) == 63  # the parts before
    assert run(max_failures=2).num_failed == 2


def test_another_job_is_refused(
    encoder: ComposedVisionEncoder, run: Callable[..., EncodeSummary], photos: Path, tmp_path: Path
) -> None:
    run()
    with pytest.raises(InputError, match="another output"):
        run(store_dtype="float16")
    with pytest.raises(InputError, match="other weights"):
        encode_dataset(compose(SMALL), [photos], tmp_path / "out", part_size=16)
    draw(photos, 1, first=100)
    with pytest.raises(InputError, match=r"other inputs: 100 images, not 101.* --overwrite"):
        run()
    assert run(overwrite=True).num_images == 99
    assert len(values(tmp_path / "out")) == 99


def test_store_dtypes(run: Callable[..., EncodeSummary], tmp_path: Path) -> None:
    run("float32")
    exact = values(tmp_path / "float32")
    for dtype in ("float16", "bfloat16"):
        run(dtype, store_dtype=dtype)
        kind = getattr(torch, dtype)
        for name, stored in values(tmp_path / dtype).items():
            expected = torch.as_tensor(exact[name]).to(kind)
            assert torch.equal(torch.as_tensor(stored).to(kind), expected)
    run("list", format="parquet-list")
    assert_same(values(tmp_path / "list"), exact)


def test_refusals_come_before_anything_is_written(
    encoder: ComposedVisionEncoder, run: Callable[..., EncodeSummary], photos: Path, tmp_path: Path
) -> None:
    for options, reason in (
        ({"part_size": 0}, "part_size is 0"),
        ({"part_size": 300_001, "format": "safetensors"}, "part_size is 300001; of safetensors it must be"),
        ({"shard": (0, 0)}, "there is no shard of 0: a job is cut into 1 or more"),
        ({"engine": "ray", "num_gpus": -1}, "num_gpus is -1; it must be at least 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"workers": -1}, "workers is -1"),
        ({"pool": "men"}, r"unknown pooler 'men' \(did you mean 'mean'"),
    ):
        with pytest.raises(InputError, match=reason):
            run(**options)
    with pytest.raises(InputError, match="no such file"):
        encode_dataset(encoder, [photos / "no.png"], tmp_path / "out")
    separate = compose(tiny.config("qwen3_vl_vision", deepstack="separate"))
    with pytest.raises(InputError, match="use deepstack: concat or none instead of separate"):
        encode_dataset(separate, [photos], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_dead_actor_left_is_removed_in_the_end(tmp_path: Path) -> None:
    draw(tmp_path / "photos", 3)
    left = tmp_path / "out/features/.part-00000.parquet.1-1.tmp"
    encode_dataset(
        compose(SMALL), [tmp_path / "photos"], tmp_path / "out", on_progress=lambda *_: left.touch()
    )
    assert not left.exists()
