from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_composer.errors import InputError
from vision_composer.jobs import expand_sources
from vision_composer.jobs.inputs.files import image_extensions


def touch(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def test_folders_are_searched_and_sorted(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b.jpg",
        "a/z.PNG",
        "a/b/c.JpEg",
        "a-b/x.webp",
        "a.tiff",
        "notes.txt",
        "data.npy",
        "x.pdf",
        "jpg",
    )
    expected = sorted(path for path in tmp_path.rglob("*") if path.suffix.lower() in image_extensions())
    assert len(expected) == 5
    assert expand_sources([tmp_path]) == [str(path) for path in expected]


def test_extensions_are_those_that_can_be_read() -> None:
    assert {".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".bmp"} <= image_extensions()
    assert not {".eps", ".pdf", ".h5", ".mpg", ".txt", ""} & image_extensions()


def test_a_named_file_is_taken_whatever_its_name(tmp_path: Path) -> None:
    paths = touch(tmp_path, "photo", "notes.txt", "b.png", "a.png")
    assert expand_sources(paths) == [str(path) for path in paths]


def test_paths_stay_as_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "in/a.png", "in/b/c.png")
    monkeypatch.chdir(tmp_path / "in")
    assert expand_sources(["b/../a.png", "."]) == ["b/../a.png", "./b/c.png"]
    assert expand_sources(["a.png", Path("b")]) == ["a.png", "b/c.png"]


def test_each_image_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.png", "b/c.png", "b/d.png")
    monkeypatch.chdir(tmp_path)
    assert expand_sources(["b/d.png", "b", "b", "b/c.png", ".", "./a.png", "a.png"]) == [
        "b/d.png",
        "b/c.png",
        "./a.png",
    ]


def test_links_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path, "root/a.png", "root/sub/b.png", "elsewhere/c.png")
    (tmp_path / "root/sub/loop").symlink_to(tmp_path / "root")
    (tmp_path / "root/other").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/self").symlink_to("self")
    found = expand_sources([tmp_path / "root"])
    assert found == [str(tmp_path / "root" / name) for name in ("a.png", "other/c.png", "sub/b.png")]


def test_a_dangling_link_in_a_folder_is_kept_for_the_report(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert expand_sources([tmp_path]) == [str(tmp_path / "gone.png")]


def test_missing_paths(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(InputError, match=r"no\.png: no such file or folder \(and 1 more"):
        expand_sources([tmp_path, tmp_path / "no.png", tmp_path / "gone.png"])


def test_no_images(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    with pytest.raises(InputError, match=r"no images in"):
        expand_sources([tmp_path])
    with pytest.raises(InputError, match=r"no images given"):
        expand_sources([])


def test_a_folder_that_cannot_be_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.png", "sub/b.png")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"sub: cannot be searched: Permission denied"):
        expand_sources([tmp_path])


@settings(max_examples=30, deadline=None)
@given(names=st.sets(st.text("ab.-/ é猫", min_size=1, max_size=8), max_size=8))
def test_any_tree(names: set[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("tree")
    for name in names:
        touch(root, f"{name.strip('/. ') or 'x'}.png".replace("//", "/"))
    touch(root, "last.png")
    expected = [str(path) for path in sorted(root.rglob("*.png"))]
    assert expand_sources([root]) == expected
    assert expand_sources([root, *expected]) == expected
    assert expand_sources([*reversed(expected), root]) == expected[::-1]


def test_of_several_links_to_a_folder_the_first_by_name_is_followed(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/c.png")
    names = [f"{n * 7 % 30:02}" for n in range(30)]
    (tmp_path / "root").mkdir()
    for name in names:
        (tmp_path / "root" / name).symlink_to(tmp_path / "elsewhere")
    assert expand_sources([tmp_path / "root"]) == [str(tmp_path / "root/00/c.png")]
