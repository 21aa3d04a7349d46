"""Videos among the images: clips for encoders that take them, or else images one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import tiny
from support.images import noise_image
from support.videos import needs_av, number_of
from support.videos import video as real_video

from vision_composer import compose, inspect_images
from vision_composer.errors import ImageError, InputError
from vision_composer.jobs.inputs import Row
from vision_composer.report import frames


@pytest.fixture
def video(monkeypatch: pytest.MonkeyPatch) -> str:
    """A video of as many frames as are asked for, at every half second."""

    def rows(source: str, *, fps: Any, frames: int) -> list[Row]:
        assert fps is None
        if "broken" in source:
            raise InputError(f"{source}: not a video that can be read: it is broken")
        return [Row(f"{source}@{i / 2:.3f}", source, "video", source, (i, 1)) for i in range(frames)]

    monkeypatch.setattr(frames.videos, "rows", rows)
    monkeypatch.setattr(frames.videos, "load", lambda row: noise_image(48 + row.where[0] * 0, 32))
    return "folder/clip.mp4"


def test_extensions_tell_videos() -> None:
    assert frames.is_video("a/b.MP4")
    assert not frames.is_video("a/b.png")
    assert not frames.is_video(noise_image(2, 2))


def test_an_encoder_of_clips_sees_one_clip(video: str) -> None:
    encoder = compose({"schema": 1, "encoder": tiny.ALL["qwen2_vl_vision"]})
    (image,) = inspect_images(encoder, [video]).images
    assert (image.name, image.size.frames) == ("clip.mp4", 8)
    assert len(image.towers[""].views) == 4


def test_any_other_encoder_sees_its_frames(video: str) -> None:
    encoder = compose({"schema": 1, "encoder": tiny.ALL["clip_vision_model"]})
    images = inspect_images(encoder, [video]).images
    assert [image.name for image in images][:2] == ["clip.mp4, 0.00 s", "clip.mp4, 0.50 s"]
    assert len(images) == 8


def test_a_video_that_cannot_be_read(video: str) -> None:
    with pytest.raises(ImageError, match=r"^broken\.mp4: not a video that can be read: it is broken$"):
        frames.frames_of("broken.mp4")


@needs_av
@pytest.mark.parametrize(("name", "clips"), [("qwen2_vl_vision", True), ("clip_vision_model", False)])
def test_frames_of_a_real_video_are_those_at_its_times(name: str, clips: bool, tmp_path: Path) -> None:
    path = real_video(tmp_path / "clip.mp4", frames=48, rate=12)
    taken = frames.frames_of(str(path))
    assert [round(seconds * 12) for seconds, _ in taken] == list(range(3, 48, 6))
    assert [number_of(image) for _, image in taken] == list(range(3, 48, 6))
    encoder = compose({"schema": 1, "encoder": tiny.ALL[name]})
    images = inspect_images(encoder, [str(path)]).images
    shots = [image for _, image in taken]
    expected = inspect_images(encoder, [shots] if clips else shots).images
    assert len(images) == len(expected) == (1 if clips else 8)
    for ours, theirs in zip(images, expected, strict=True):
        assert ours.size == theirs.size
        assert ours.output.num_rows == theirs.output.num_rows
        for found, wanted in zip(ours.towers[""].layers, theirs.towers[""].layers, strict=True):
            np.testing.assert_array_equal(found.maps, wanted.maps)


@needs_av
def test_a_file_that_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(ImageError, match=r"a\.mp4: not a video that can be read"):
        frames.frames_of(str(tmp_path / "a.mp4"))
