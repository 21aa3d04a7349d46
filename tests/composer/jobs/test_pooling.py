"""Poolers: what they make of an image's tokens, and which names there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support import tiny
from support.jobs import SMALL

from vision_composer import plan
from vision_composer.errors import InputError
from vision_composer.jobs.pooling import POOLER_PLUGINS, pooler_of, register_pooler


@pytest.fixture
def _own() -> Iterator[None]:
    yield
    POOLER_PLUGINS.unregister("acme.first")


def pooled(name: str, features: torch.Tensor, **keys: Any) -> torch.Tensor:
    pooler = pooler_of(name, plan({**SMALL, **keys}))
    assert pooler is not None
    return pooler(features)


def test_what_is_built_in() -> None:
    features = torch.tensor([[1.0, 8.0], [3.0, 2.0], [2.0, 2.0]])
    assert pooler_of("none", plan(SMALL)) is None
    assert pooled("mean", features).tolist() == [2.0, 4.0]
    assert pooled("max", features).tolist() == [3.0, 8.0]
    assert pooled("cls", features, feature_select_strategy="full").tolist() == [1.0, 8.0]


def test_a_mean_of_halves_is_taken_in_float32() -> None:
    halves = torch.ones(5000, 1, dtype=torch.bfloat16)
    assert pooled("mean", halves).dtype == torch.float32
    assert pooled("mean", halves * 60000 / 256).item() == pytest.approx(234.0, abs=1)


@pytest.mark.parametrize(
    ("keys", "right"),
    [
        ({"feature_select_strategy": "class"}, True),
        ({"feature_select_strategy": "default"}, False),
        ({"feature_select_strategy": "full", "output": "tiles", "tiling": {"type": "got_ocr2"}}, False),
        (tiny.config("siglip_vision_model", feature_select_strategy="full"), False),
        (tiny.config("llama4_vision_model", feature_select_strategy="full"), False),  # its own comes last
    ],
    ids=["class", "default", "tiles", "none", "last"],
)
def test_cls_is_a_class_token_that_comes_first(keys: dict[str, Any], right: bool) -> None:
    planned = plan({**SMALL, **keys})
    if right:
        assert pooler_of("cls", planned) is not None
    else:
        with pytest.raises(InputError, match="pool=cls needs features that begin with a class token"):
            pooler_of("cls", planned)


@pytest.mark.usefixtures("_own")
def test_a_pooler_of_ones_own() -> None:
    register_pooler("acme.first", lambda features: features[:1])
    assert pooled("acme.first", torch.ones(3, 2)).shape == (1, 2)
    with pytest.raises(InputError, match=r"unknown pooler 'acme\.frist' \(did you mean 'acme\.first'\?\)"):
        pooler_of("acme.frist", plan(SMALL))
    with pytest.raises(InputError, match="already registered: built in"):
        register_pooler("mean", lambda features: features)
    not_callable: Any = 3
    with pytest.raises(InputError, match="expected a function of a tensor"):
        register_pooler("acme.other", not_callable)


def test_unknown_names() -> None:
    with pytest.raises(InputError, match=r"pooler 'men' \(did you mean 'mean'\?\); known: none, mean"):
        pooler_of("men", plan(SMALL))
