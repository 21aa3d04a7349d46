"""Families that only some backends run."""

from __future__ import annotations

import pytest
from support import tiny

from vision_composer import AttentionBackend, compose
from vision_composer.encoders import FAMILIES
from vision_composer.errors import BackendError

LIMITED = {
    name: FAMILIES[encoder["model_type"]].attention_backends
    for name, encoder in (tiny.ENCODERS | tiny.TILED).items()
    if FAMILIES[encoder["model_type"]].attention_backends
}


@pytest.mark.parametrize("name", LIMITED)
def test_the_best_of_them_is_chosen_and_the_rest_explained(name: str) -> None:
    attention = compose({"schema": 1, "encoder": (tiny.ENCODERS | tiny.TILED)[name]}).attention
    assert attention.implementation == LIMITED[name][0]
    assert attention.reason.endswith(f"runs on {' and '.join(LIMITED[name])} only")
    assert set(attention.passed_over) == set(AttentionBackend) - {attention.backend}


@pytest.mark.parametrize("asked", [backend.value for backend in AttentionBackend])
@pytest.mark.parametrize("name", LIMITED)
def test_one_that_is_asked_for(name: str, asked: str) -> None:
    keys = {"schema": 1, "encoder": (tiny.ENCODERS | tiny.TILED)[name], "attn_backend": asked}
    if asked in LIMITED[name]:
        assert compose(keys).attention.implementation == asked
        return
    with pytest.raises(BackendError, match=f"attention backend {asked} cannot be used, because .* only"):
        compose(keys)
