"""Families whose blocks compute attention themselves."""

from __future__ import annotations

import pytest
import tiny

from vision_composer import AttentionBackend, compose
from vision_composer.encoders import FAMILIES
from vision_composer.errors import BackendError

OWN = [name for name, encoder in tiny.ENCODERS.items() if FAMILIES[encoder["model_type"]].own_attention]


@pytest.mark.parametrize("asked", ["auto", "eager"])
@pytest.mark.parametrize("name", OWN)
def test_the_choice_says_so(name: str, asked: str) -> None:
    tower = compose({"schema": 1, "encoder": tiny.ENCODERS[name], "attn_backend": asked})
    assert tower.attention.backend is AttentionBackend.EAGER
    assert "compute attention themselves" in tower.attention.reason
    assert set(tower.attention.passed_over) == set(AttentionBackend) - {AttentionBackend.EAGER}


@pytest.mark.parametrize("asked", ["sdpa", "flex_attention"])
@pytest.mark.parametrize("name", OWN)
def test_another_backend_is_refused(name: str, asked: str) -> None:
    with pytest.raises(BackendError, match=rf"{asked} cannot be used: .* themselves; this works: eager"):
        compose({"schema": 1, "encoder": tiny.ENCODERS[name], "attn_backend": asked})
