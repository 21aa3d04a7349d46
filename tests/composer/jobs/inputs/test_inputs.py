"""What an input is: told by what it is and how it is called; anything else is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.jobs import draw

from vision_composer.errors import InputError
from vision_composer.jobs.inputs import InputOptions, check_options, find_inputs, list_rows


def ids(*inputs: Path | str) -> list[str]:
    return [row.id for row in list_rows(find_inputs(inputs), InputOptions())]


def test_patterns(tmp_path: Path) -> None:
    paths = [str(path) for path in draw(tmp_path / "a", 3) + draw(tmp_path / "b", 2)]
    assert ids(f"{tmp_path}/*/*.jpg") == paths
    assert ids(f"{tmp_path}/**/000001.jpg") == [paths[1], paths[4]]
    assert ids(f"{tmp_path}/[b]") == paths[3:]
    with pytest.raises(InputError, match="no file or folder matches"):
        ids(f"{tmp_path}/*.png")


def test_a_name_with_the_signs_of_a_pattern_is_a_name(tmp_path: Path) -> None:
    (path,) = draw(tmp_path / "a[1]", 1)
    assert ids(tmp_path / "a[1]") == ids(path) == [str(path)]


def test_an_image_is_known_by_its_name_or_its_content(tmp_path: Path) -> None:
    (path,) = draw(tmp_path, 1)
    odd = path.rename(tmp_path / "photo.0001")
    broken = tmp_path / "broken.png"
    broken.touch()
    assert ids(odd, broken) == [str(odd), str(broken)]


@pytest.mark.parametrize("name", ["notes.md", "data.npy", "images.zip", "images.tar.gz", "file"])
def test_anything_else_is_an_error(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("something")
    with pytest.raises(InputError, match=r"is neither an image nor a list \(.txt, .csv\), a table"):
        ids(tmp_path / name)


def test_a_folder_of_archives_says_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "0.tar").touch()
    with pytest.raises(
        InputError, match=r"no images in .*; for the tables or archives in it, write '.*/\*\.tar'"
    ):
        ids(tmp_path)


def test_missing_inputs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images given"):
        find_inputs([])
    with pytest.raises(InputError, match=r"no.png: no such file or folder \(and 1 more"):
        find_inputs([tmp_path / "no.png", tmp_path, tmp_path / "nor.tar"])


VIDEOS = r"^no input is a video: leave out --{0} \(in Python {0}\), or name the videos of a folder"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (InputOptions(fps=0.0), VIDEOS.format("fps")),
        (InputOptions(frames=3), VIDEOS.format("frames")),
        (InputOptions(clips=True), VIDEOS.format("clips")),
        (InputOptions(fps=1.0, clips=True), r"leave out --fps, --clips \(in Python fps, clips\)"),
        (InputOptions(column="image"), r"^no input is a table: leave out --column \(in Python column\)"),
    ],
)
def test_an_option_without_an_input_for_it(options: InputOptions, message: str, tmp_path: Path) -> None:
    (photo,) = draw(tmp_path, 1)
    (tmp_path / "clip.mp4").mkdir()
    for name in ("shard.tar", "list.txt"):
        (tmp_path / name).touch()
    others = find_inputs(
        [tmp_path, photo, tmp_path / "clip.mp4", tmp_path / "shard.tar", tmp_path / "list.txt"]
    )
    with pytest.raises(InputError, match=message):
        check_options(others, options)
    check_options(others, InputOptions())


@pytest.mark.parametrize("name", ["t.csv", "t.PARQUET", "saved"])
def test_options_beside_an_input_for_them(name: str, tmp_path: Path) -> None:
    photos = draw(tmp_path, 1)
    if name == "saved":
        (tmp_path / name).mkdir()
    (tmp_path / name / "state.json" if name == "saved" else tmp_path / name).touch()
    (tmp_path / "v.MP4").touch()
    given = find_inputs([*photos, tmp_path / name, tmp_path / "v.MP4"])
    check_options(given, InputOptions(column="image", fps=1.0, clips=True))
