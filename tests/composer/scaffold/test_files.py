"""The files around the family, and what is found in them to be left to do."""

from __future__ import annotations

import tomllib

import pytest
import yaml

from vision_composer.scaffold.classes import classes_of
from vision_composer.scaffold.files import files_of, todos
from vision_composer.scaffold.reading import read_encoder
from vision_composer.schemas import load_yaml


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return files_of(read_encoder(classes_of("vit_msn")), "my_msn", "vit_msn")


def test_the_entry_point_leads_to_the_classes(files: dict[str, str]) -> None:
    project = tomllib.loads(files["pyproject.toml"])
    assert project["project"]["entry-points"] == {
        "vision_composer.encoders": {"vit_msn": "my_msn.encoder:ENCODER"}
    }
    assert project["project"]["name"] == "my-msn"
    assert project["tool"]["setuptools"]["packages"] == ["my_msn"]
    assert "ENCODER = (ViTMSNEncoderConfig, ViTMSNFamily)" in files["my_msn/encoder.py"]


def test_the_preset_names_the_encoder(files: dict[str, str]) -> None:
    assert yaml.safe_load(files["my_msn.yaml"])["encoder"] == {"model_type": "vit_msn"}
    assert load_yaml(files["my_msn.yaml"], "my_msn.yaml") is not None


def test_every_file_is_python_that_compiles(files: dict[str, str]) -> None:
    for name, text in files.items():
        if name.endswith(".py"):
            compile(text, name, "exec")
            assert max(map(len, text.splitlines())) <= 110


def test_what_is_left_to_do() -> None:
    text = """\
a = 1
    # TODO: add one
    # and another
    b = 2
        raise NotImplementedError(
            "TODO: compute \\"c\\" of "
            "d"
        )
source: null  # TODO: name it
# TODO: last
"""
    assert todos(text) == [(2, "add one and another"), (6, 'compute "c" of d'), (9, "name it"), (10, "last")]
