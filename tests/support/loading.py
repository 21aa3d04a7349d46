"""Loading configs in tests, without presets unless a test brings some."""

import pytest
from pydantic import ValidationError

from vision_composer.errors import ConfigError, Problem
from vision_composer.schemas import load_config
from vision_composer.schemas.yaml.interpolation import interpolate
from vision_composer.schemas.yaml.nodes import from_python

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


def resolved(data):
    """Values with their references resolved."""
    return interpolate(from_python(data)).plain()


def unresolved(data):
    """The problems of values whose references cannot be resolved."""
    with pytest.raises(ConfigError) as caught:
        interpolate(from_python(data))
    return caught.value.problems


def faults(model, values):
    """What a model says against values: the type and the path of each problem."""
    try:
        model.model_validate(values)
    except ValidationError as error:
        return [(line["type"], line["loc"]) for line in error.errors()]
    return []
