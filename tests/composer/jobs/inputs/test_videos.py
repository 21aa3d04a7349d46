"""Frames of videos: the ones asked for, each decoded as a player shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support import tiny
from support.compare import assert_close
from support.jobs import SMALL
from support.videos import INSTALLED, needs_av, number_of, video

from vision_composer import compose
from vision_composer.errors import ImageError, InputError, MissingDependencyError
from vision_composer.jobs import encode_dataset, read_features
from vision_composer.jobs.inputs import InputOptions, Row, find_inputs, list_rows, load_row


def rows(path: Path, **options: object) -> list[Row]:
    return list(list_rows(find_inputs([path]), InputOptions(**options)))  # type: ignore[arg-type]


def numbers(listed: list[Row]) -> list[int]:
    """The numbers that frames show."""
    return [number_of(load_row(row)) for row in listed]


@pytest.mark.skipif(INSTALLED, reason="PyAV is installed")
def test_without_pyav(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(MissingDependencyError, match=r"pip install 'vision-composer\[video\]'"):
        rows(tmp_path / "a.mp4")


@needs_av
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, list(range(50))),
        ({"fps": 5.0}, list(range(0, 50, 5))),
        ({"fps": 10.0}, [0, 3, 5, 8, 10, 13, 15, 18, 20, 23, 25, 28, 30, 33, 35, 38, 40, 43, 45, 48]),
        ({"fps": 100.0}, list(range(50))),
        ({"frames": 1}, [25]),
        ({"frames": 5}, [5, 15, 25, 35, 45]),
        ({"frames": 90}, list(range(50))),
    ],
)
def test_frames(options: dict[str, float], expected: list[int], suffix: str, tmp_path: Path) -> None:
    listed = rows(video(tmp_path / f"v.{suffix}"), **options)
    assert numbers(listed) == expected
    assert len({row.id for row in listed}) == len(listed)


@needs_av
def test_what_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(InputError, match="not a video that can be read"):
        rows(path)
    for options in ({"fps": 0.0}, {"fps": float("nan")}, {"frames": 0}, {"fps": 1.0, "frames": 1}):
        with pytest.raises(InputError, match=r"more than 0|not both"):
            rows(video(path), **options)


@needs_av
def test_a_playlist_has_no_other_file_read(tmp_path: Path) -> None:
    video(tmp_path / "secret.mp4")
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:10", "#EXTINF:10,", f"file://{tmp_path}/secret.mp4"]
    for content in (
        "\n".join([*lines, "#EXT-X-ENDLIST"]),
        f"ffconcat version 1.0\nfile '{tmp_path}/secret.mp4'\n",
    ):
        (tmp_path / "list.mp4").write_text(content)
        with pytest.raises(InputError, match="not a video that can be read"):
            rows(tmp_path / "list.mp4")


@needs_av
def test_a_video_that_is_cut_off(tmp_path: Path) -> None:
    path = video(tmp_path / "v.mkv")
    listed = rows(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert len(numbers(listed[:10])) == 10
    with pytest.raises(ImageError, match="the video"):
        load_row(listed[-1])


@needs_av
def test_a_job(tmp_path: Path) -> None:
    path = video(tmp_path / "v.mp4")
    summary = encode_dataset(compose(SMALL), [path], tmp_path / "out", fps=5.0)
    assert (summary.num_images, summary.num_failed) == (10, 0)
    assert [name for name, _ in read_features(tmp_path / "out")][:2] == [f"{path}@0.000", f"{path}@0.200"]


@needs_av
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
@pytest.mark.parametrize("options", [{}, {"fps": 5.0}, {"frames": 1}, {"frames": 3}, {"frames": 90}])
def test_a_clip_has_the_frames_that_are_rows_otherwise(
    options: dict[str, float], suffix: str, tmp_path: Path
) -> None:
    path = video(tmp_path / f"v.{suffix}")
    (clip,) = rows(path, clips=True, **options)
    assert clip.id == str(path)
    apart = [np.asarray(load_row(row)) for row in rows(path, **options)]
    frames = load_row(clip)
    assert isinstance(frames, Iterator)
    np.testing.assert_array_equal([np.asarray(frame) for frame in frames], apart)


@needs_av
def test_a_clip_that_is_cut_off(tmp_path: Path) -> None:
    path = video(tmp_path / "v.mkv")
    (clip,) = rows(path, clips=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match="the video"):
        list(load_row(clip))


@needs_av
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("name", ["qwen2_5_vl_vision", "kimi_k25_vision"])
def test_a_job_of_clips(name: str, workers: int, tmp_path: Path) -> None:
    encoder = compose(tiny.config(name))
    short, long = video(tmp_path / "a.mp4", frames=3), video(tmp_path / "b.mp4", frames=40)
    picture = tmp_path / "c.png"
    Image.new("RGB", (80, 30), "red").save(picture)
    options: dict[str, Any] = {"clips": True, "frames": 5, "part_size": 1, "workers": workers}

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_dataset(encoder, [short, long, picture], tmp_path / "out", **options, on_progress=stop)
    encode_dataset(encoder, [short, long, picture], tmp_path / "out", **options)
    inputs: list[Any] = [[load_row(row) for row in rows(path, frames=5)] for path in (short, long)]
    table = pq.read_table(tmp_path / "out/features").to_pydict()
    if name == "qwen2_5_vl_vision":
        assert table["id"] == list(map(str, [short, long, picture]))
        assert [grid[0] for grid in table["grid"]] == [2, 3, 1]
        sizes = [(64, 48, 3), (64, 48, 5), (80, 30, 1)]
    else:  # it has positions for four frames
        (failure,) = pq.read_table(tmp_path / "out/failures.parquet").to_pylist()
        assert failure["id"] == str(long)
        assert "5 frames, but the encoder has positions for 4 only; split the clip" in failure["reason"]
        del inputs[1]
        assert [grid[0] for grid in table["grid"]] == [3, 1]
        sizes = [(64, 48, 3), (80, 30, 1)]
    assert list(map(tuple, table["size"])) == [size[:2] for size in sizes]
    assert table["num_tokens"] == [encoder.num_tokens(*size) for size in sizes]
    want = [encoder.encode([clip])[0] for clip in [*inputs, picture]]
    assert_close([values for _, values in read_features(tmp_path / "out")], want)
    with pytest.raises(InputError, match="other inputs"):
        encode_dataset(encoder, [short, long, picture], tmp_path / "out", **options | {"frames": 4})


def test_an_encoder_that_takes_no_clips(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").touch()
    with pytest.raises(InputError, match="this encoder takes no clips: leave out --clips"):
        encode_dataset(compose(SMALL), [tmp_path / "v.mp4"], tmp_path / "out", clips=True)
    assert not (tmp_path / "out").exists()


def test_vllm_has_no_names_for_clips(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").touch()
    encoder = compose(tiny.config("qwen2_5_vl_vision", output="embeds"))
    with pytest.raises(InputError, match="vllm-embeds is for images: leave out --clips"):
        encode_dataset(encoder, [tmp_path / "v.mp4"], tmp_path / "out", clips=True, format="vllm-embeds")
