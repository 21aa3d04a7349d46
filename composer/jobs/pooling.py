"""Poolers: the tokens of an image become one row, or fewer rows, before they are stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import InputError
from ..registry import Registry
from ..text import did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from ..planning import VisionPlan

Pooler: TypeAlias = "Callable[[Tensor], Tensor]"
"""From the features of an image (tokens, width) to (width,) or (rows, width)."""


def _mean(features: Tensor) -> Tensor:
    import torch

    return features.mean(0, dtype=torch.float32)  # halves lose digits when many are summed


def _max(features: Tensor) -> Tensor:
    return features.amax(0)


def _cls(features: Tensor) -> Tensor:
    return features[0]


_BUILT_IN: dict[str, Pooler | None] = {"none": None, "mean": _mean, "max": _max, "cls": _cls}


def _check(name: str, pooler: Any) -> Pooler:
    if not callable(pooler):
        raise TypeError(f"expected a function of a tensor (tokens, width), not {type(pooler).__name__}")
    checked: Pooler = pooler
    return checked


POOLER_PLUGINS = Registry[Pooler]("pooler", "poolers", _BUILT_IN, _check)


def register_pooler(name: str, pooler: Pooler) -> None:
    """Make ``pool=name`` call ``pooler`` on the features of every image of a job.

    Args:
        name: A new name.
        pooler: A function from (tokens, width) to (width,) or (rows, width).

    Raises:
        InputError: If the name is taken, or ``pooler`` is not callable.
    """
    POOLER_PLUGINS.register(name, pooler)


def pooler_of(name: str, plan: VisionPlan) -> Pooler | None:
    """Return the pooler of that name; None for ``none``.

    Raises:
        InputError: If there is none, or it is ``cls`` and the features do not begin with a class token.
    """
    if name == "cls" and not plan.begins_with_class_token:
        raise InputError(
            "pool=cls needs features that begin with a class token: choose an encoder that has one, and "
            "feature_select_strategy: full or class"
        )
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    if pooler := POOLER_PLUGINS.get(name):
        return pooler
    known = [*_BUILT_IN, *POOLER_PLUGINS.names()]
    raise InputError(f"unknown pooler {name!r}{did_you_mean(name, known)}; known: {', '.join(known)}")
