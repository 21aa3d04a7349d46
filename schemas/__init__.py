"""Pydantic models of a config, YAML loading with positions, and the JSON Schema. Loads no torch."""

from __future__ import annotations

from .codes import CODES
from .config import FEATURE_SELECT_STRATEGIES, FEATURE_SELECTOR_PLUGINS, PostNorm, TowerConfig
from .encoders import (
    ENCODER_CONFIGS,
    ENCODER_PLUGINS,
    DenseEncoderConfig,
    EncoderConfig,
    GenericEncoderConfig,
    RopeType,
    encoder_config,
)
from .fusion import AnyConfig, FusedConfig, one_tower
from .image_processor import ImageProcessorConfig
from .json_schema import json_schema
from .processor_class import ProcessorClass
from .processor_classes import PROCESSOR_CLASSES
from .root import ATTENTION_BACKEND_PLUGINS, ATTN_BACKENDS
from .running import CompileConfig, ParallelConfig, TrainingConfig
from .weights import WeightsConfig
from .yaml.loading import ConfigSource, load_config, load_tree, validate_tree
from .yaml.reading import load_yaml

__all__ = [
    "ATTENTION_BACKEND_PLUGINS",
    "ATTN_BACKENDS",
    "CODES",
    "ENCODER_CONFIGS",
    "ENCODER_PLUGINS",
    "FEATURE_SELECTOR_PLUGINS",
    "FEATURE_SELECT_STRATEGIES",
    "PROCESSOR_CLASSES",
    "AnyConfig",
    "CompileConfig",
    "ConfigSource",
    "DenseEncoderConfig",
    "EncoderConfig",
    "FusedConfig",
    "GenericEncoderConfig",
    "ImageProcessorConfig",
    "ParallelConfig",
    "PostNorm",
    "ProcessorClass",
    "RopeType",
    "TowerConfig",
    "TrainingConfig",
    "WeightsConfig",
    "encoder_config",
    "json_schema",
    "load_config",
    "load_tree",
    "load_yaml",
    "one_tower",
    "validate_tree",
]
