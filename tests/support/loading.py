"""Loading configs in tests, without presets unless a test brings some."""

import pytest

from vision_composer.errors import ConfigError, Problem
from vision_composer.schemas import load_config

CLIP = "schema: 1\nencoder:\n  model_type: clip_vision_model\n"


def no_preset(name):
    raise ConfigError(Problem("VC010", f"there is no preset {name!r}"))


def load(source, *overrides, find_preset=no_preset):
    return load_config(source, overrides=overrides, find_preset=find_preset)


def golden(file):
    """The messages that a config is to give: the text beside it."""
    return file.with_suffix(".txt").read_text(encoding="utf-8")


def refused(source, *overrides, find_preset=no_preset):
    with pytest.raises(ConfigError) as caught:
        load(source, *overrides, find_preset=find_preset)
    return caught.value.problems
