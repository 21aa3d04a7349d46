"""What a config amounts to, known before a weight is read: layers, widths, tokens, parameters, operations.

Pure arithmetic: neither torch nor transformers is loaded (a registered feature selector, which is code on
tensors, is the one exception).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import InputError
from ..images.settings import ProcessorSettings
from ..schemas import AnyConfig, FusedConfig
from ..sources import config_of
from .base import VisionPlan
from .fusion import FusedPlan, plan_fused
from .tower import Plan, plan_config, processor_settings

AnyPlan: TypeAlias = Plan | FusedPlan
"""A plan of one tower or of several."""


def plan(source: str | Path | Mapping[str, Any] | AnyConfig, *, overrides: Iterable[str] = ()) -> AnyPlan:
    """Plan a config without building anything.

    Args:
        source: A preset's name, a YAML file, a saved tower's folder, a mapping, or a validated config; or a
            checkpoint, as for :func:`vision_composer.compose`: the config.json of a hub id is downloaded.
        overrides: ``key=value`` strings laid over it.

    Returns:
        A :class:`Plan`, or of a config of several towers a :class:`FusedPlan`.

    Raises:
        ConfigError: If the config cannot be read or cannot work.
        InputError: If there is no such checkpoint.
        WeightsError: If the checkpoint is on this machine and its processor config is broken, or not for this
            encoder.
    """
    return plan_any(config_of(source, overrides=overrides))


def plan_any(config: AnyConfig, processors: Sequence[ProcessorSettings] | None = None) -> AnyPlan:
    """Plan a validated config of one tower or of several.

    Args:
        config: The config.
        processors: The image processor of every tower. Default: those of :func:`processor_settings`.

    Raises:
        ConfigError: If the config cannot work.
        WeightsError: As :func:`processor_settings`.
    """
    if isinstance(config, FusedConfig):
        return plan_fused(config, processors)
    return plan_config(config, None if processors is None else processors[0])


def only_tower(plan: AnyPlan) -> Plan:
    """Return a plan of one tower, for what knows one only.

    Raises:
        InputError: If it is of several.
    """
    if isinstance(plan, FusedPlan):
        raise InputError(f"this is for one tower, and the config has several: {', '.join(plan.towers)}")
    return plan


__all__ = [
    "AnyPlan",
    "FusedPlan",
    "Plan",
    "VisionPlan",
    "only_tower",
    "plan",
    "plan_any",
    "plan_config",
    "plan_fused",
    "processor_settings",
]
