"""The column of images: the one that is asked for, or the only one whose name is usual."""

from __future__ import annotations

import pytest

from vision_composer.errors import InputError
from vision_composer.jobs.inputs.columns import column_of


@pytest.mark.parametrize("name", ["image", "IMG", "Image_Path", "file_name", "jpg", "bytes"])
def test_the_only_usual_name_is_meant(name: str) -> None:
    assert column_of("t.csv", ["label", name, "images"], None) == name


@pytest.mark.parametrize("columns", [[], ["label"], ["image", "path"], ["image", "image"]])
def test_without_one_or_with_several_somebody_has_to_say(columns: list[str]) -> None:
    listed = ", ".join(columns) or "none"
    with pytest.raises(InputError, match=rf"t\.csv: nothing says which .* its columns: {listed}$"):
        column_of("t.csv", columns, None)


def test_what_is_asked_for_counts() -> None:
    assert column_of("t.csv", ["image", "label"], "label") == "label"
    with pytest.raises(InputError, match=r"'Label' \(did you mean 'label'\?\); its columns: image"):
        column_of("t.csv", ["image", "label"], "Label")


def test_a_column_that_is_there_twice() -> None:
    with pytest.raises(InputError, match=r"t\.csv: has several columns 'image'; give that of the images"):
        column_of("t.csv", ["image", "label", "image"], "image")


def test_a_message_names_some_of_many_columns() -> None:
    with pytest.raises(InputError, match=r"its columns: c0, .*, c19$"):
        column_of("t.csv", [f"c{number}" for number in range(1000)], "c")
