"""Images with labels: found in folders, or the digits of the demo."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.images import noise_image

from vision_composer.errors import InputError
from vision_composer.probe import load_digits, load_folder


def test_every_folder_is_a_class(tmp_path: Path) -> None:
    for name in ("cat/b.png", "cat/deep/a.PNG", "dog/c.jpg", ".hidden/d.png", "beside.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        noise_image(8, 8).save(tmp_path / name)
    (tmp_path / "dog" / "notes.txt").write_text("not an image")
    found = load_folder(tmp_path)
    assert [Path(str(image)).relative_to(tmp_path).as_posix() for image in found.images] == [
        "cat/b.png",
        "cat/deep/a.PNG",
        "dog/c.jpg",
    ]
    assert found.labels == ["cat", "cat", "dog"]
    assert found.held_out is None


def test_what_is_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has no folders in it"):
        load_folder(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: has no images"):
        load_folder(tmp_path)


def test_digits_are_those_that_the_encoder_was_not_trained_on() -> None:
    digits = load_digits()
    assert len(digits.images) == len(digits.labels) == 1797 - 906
    assert set(digits.labels) == set("0123456789")
    assert digits.held_out == [False] * 381 + [True] * 510
