"""Errors that name the tower they are about."""

from __future__ import annotations

import pytest

from vision_composer.errors import ConfigError, ImageError, InputError, Problem
from vision_composer.fusion.naming import naming


def test_an_error_gets_the_name_in_front() -> None:
    with pytest.raises(InputError, match=r"^tower left: wrong$"), naming("left"):
        raise InputError("wrong")
    with pytest.raises(ImageError, match=r"^a\.png: tower left: broken$"), naming("left"):
        raise ImageError("a.png", "broken")
    with pytest.raises(RuntimeError) as raised, naming("left"):
        raise RuntimeError("odd")
    assert (str(raised.value), raised.value.__notes__) == ("odd", ["tower left"])


def test_a_config_error_and_a_tower_without_a_name_stay_as_they_are() -> None:
    with pytest.raises(ConfigError) as raised, naming("left"):
        raise ConfigError(Problem("VC104", "odd", "towers.left"))
    assert "tower left" not in str(raised.value)
    with pytest.raises(InputError, match=r"^wrong$"), naming(""):
        raise InputError("wrong")
