"""Families and their config blocks are found by their files, and no two claim one name."""

from __future__ import annotations

import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Literal

import pytest

from vision_composer import encoders, schemas
from vision_composer.encoders import FAMILIES, DenseFamily, EncoderFamily, Shapes, family_of, register_encoder
from vision_composer.encoders.generic import GenericFamily
from vision_composer.schemas import (
    ENCODER_CONFIGS,
    ENCODER_PLUGINS,
    DenseEncoderConfig,
    EncoderConfig,
    encoder_config,
)
from vision_composer.schemas.encoders import _config_blocks

OWN = list(dict.fromkeys(FAMILIES.values()))


def test_both_tables_have_the_same_names_in_a_stable_order() -> None:
    assert list(ENCODER_CONFIGS) == list(FAMILIES) == sorted(FAMILIES)


def test_every_family_has_a_config_block_in_a_file_of_the_same_name() -> None:
    folder = encoders.__path__
    classes = [
        thing
        for beside in iter_modules(folder)
        for thing in vars(import_module(f"{encoders.__name__}.{beside.name}")).values()
        if isinstance(thing, type) and issubclass(thing, EncoderFamily) and "model_type" in vars(thing)
    ]
    assert set(classes) == {GenericFamily, *map(type, OWN)}
    for name, family in FAMILIES.items():
        block = ENCODER_CONFIGS[name].__module__
        assert block.rpartition(".")[2] == type(family).__module__.rpartition(".")[2]
        assert block.rpartition(".")[0] == f"{schemas.__name__}.encoders"


def test_variants_are_one_object() -> None:
    assert len(OWN) == len({id(block) for block in ENCODER_CONFIGS.values()})
    for family in OWN:
        names = ENCODER_CONFIGS[family.model_type].model_types()
        assert {id(FAMILIES[name]) for name in names} == {id(family)}
        assert names[0] == family.model_type


def test_a_plugin_of_version_0_1_is_a_dense_family() -> None:
    class Old(EncoderFamily):  # type: ignore[type-arg]  # as plugins wrote it before families had type parameters
        model_type = "old"

        def stem_shapes(self, encoder: EncoderConfig) -> Shapes:
            return {}

        block_shapes = stem_shapes

        def stem(self, model: object, pixel_values: object) -> tuple[object, dict[str, object]]:
            return pixel_values, {}

    class OldConfig(DenseEncoderConfig):
        model_type: Literal["old"]

    register_encoder(OldConfig, Old)
    try:
        family = family_of(encoder_config({"model_type": "old"}))
    finally:
        ENCODER_PLUGINS.unregister("old")
    assert isinstance(family, DenseFamily)
    assert isinstance(family, Old)


def test_a_name_is_claimed_once() -> None:
    """A subclass that does not give ``read_by`` or ``other_names`` claims those of the class it extends."""
    readers = Counter(name for family in OWN for name in family.read_by)
    others = Counter(name for family in OWN for name in family.other_names)
    assert max(readers.values()) == max(others.values()) == 1
    assert not set(others) & set(FAMILIES)


def test_two_blocks_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vision_composer.schemas import encoders as blocks

    file = tmp_path / "another_clip.py"
    file.write_text(
        "from typing import Literal\n"
        "from vision_composer.schemas import DenseEncoderConfig\n"
        "class Another(DenseEncoderConfig):\n    model_type: Literal['clip_vision_model']\n"
    )
    monkeypatch.setattr(blocks, "__path__", [*blocks.__path__, str(tmp_path)])
    with pytest.raises(TypeError, match=r"clip and .*another_clip both claim .*'clip_vision_model'"):
        _config_blocks()
    del sys.modules[f"{blocks.__name__}.another_clip"]


def test_a_block_says_the_names_that_it_takes() -> None:
    assert EncoderConfig.model_types() == ()
    assert ENCODER_CONFIGS["glm4v_vision"].model_types() == ("glm4v_vision", "glm4v_moe_vision")
