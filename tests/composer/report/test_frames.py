"""Videos among the images: clips for encoders that take them, or else images one by one."""

from __future__ import annotations

from typing import Any

import pytest
from support import tiny
from support.images import noise_image

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
