"""Pydantic models of a config, YAML loading with positions, and the JSON Schema. Loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .codes import CODES
from .config import (
    ATTN_BACKENDS,
    FEATURE_SELECT_STRATEGIES,
    CompileConfig,
    PostNorm,
    TowerConfig,
    WeightsConfig,
)
from .encoders import ENCODER_CONFIGS, EncoderConfig, GenericEncoderConfig, RopeType, encoder_config
from .loading import ConfigSource, load_config, load_tree, validate_tree
from .yaml_loader import load_yaml

if TYPE_CHECKING:
    from .json_schema import json_schema

__all__ = [
    "ATTN_BACKENDS",
    "CODES",
    "ENCODER_CONFIGS",
    "FEATURE_SELECT_STRATEGIES",
    "CompileConfig",
    "ConfigSource",
    "EncoderConfig",
    "GenericEncoderConfig",
    "PostNorm",
    "RopeType",
    "TowerConfig",
    "WeightsConfig",
    "encoder_config",
    "json_schema",
    "load_config",
    "load_tree",
    "load_yaml",
    "validate_tree",
]


def __getattr__(name: str) -> Any:
    if name == "json_schema":  # pydantic's generator takes a while to import, and only editors need its work
        from .json_schema import json_schema

        return json_schema
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
