from __future__ import annotations

from vision_composer.schemas import FusedConfig, TowerConfig
from vision_composer.schemas.base import ConfigModel
from vision_composer.schemas.connectors import CONNECTOR_CONFIGS
from vision_composer.schemas.descriptions import field_descriptions
from vision_composer.schemas.encoders import ENCODER_CONFIGS
from vision_composer.schemas.fusion import AlignConfig, ProjectConfig, SharedInputConfig
from vision_composer.schemas.tiling import TILING_CONFIGS


class Parent(ConfigModel):
    depth: int = 1
    """How many
    blocks."""
    width: int = 2
    """How wide."""


class Child(Parent):
    depth: int = 3
    width: int = 4
    """How wide a child is."""
    plain: int = 5


def test_a_text_is_that_of_the_class_nearest_to_the_field() -> None:
    assert field_descriptions(Parent) == {"depth": "How many\nblocks.", "width": "How wide."}
    assert field_descriptions(Child) == {"depth": "How many\nblocks.", "width": "How wide a child is."}


def test_classes_without_a_source_have_no_texts() -> None:
    namespace = {"ConfigModel": ConfigModel, "__name__": "typed_at_a_prompt"}
    exec("class Typed(ConfigModel):\n    depth: int = 1\n    'How many blocks.'", namespace)
    assert field_descriptions(namespace["Typed"]) == {}


def test_every_field_of_a_config_says_what_it_means() -> None:
    roots = [TowerConfig, FusedConfig, ProjectConfig, AlignConfig, SharedInputConfig]
    blocks = [*roots, *ENCODER_CONFIGS.values(), *CONNECTOR_CONFIGS.values(), *TILING_CONFIGS.values()]
    silent = [
        f"{block.__name__}.{name}"
        for block in blocks
        for name in block.model_fields
        if not field_descriptions(block).get(name)
    ]
    assert not silent
