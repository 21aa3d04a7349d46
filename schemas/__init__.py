"""Pydantic models of a config, YAML loading with positions, and the JSON Schema. Loads no torch."""

from __future__ import annotations

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
from .json_schema import json_schema
from .loading import ConfigSource, load_config, load_tree, validate_tree
from .yaml_loader import load_yaml

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
