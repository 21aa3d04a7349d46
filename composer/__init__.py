"""Build the vision encoder of a vision-language model from a YAML file.

Start with :func:`compose`, which builds an encoder, or :func:`plan`, which tells its facts without weights.
Public names are imported on first use: ``import vision_composer`` is fast, and ``load_config`` and ``plan``
never load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .attention import AttentionBackend, get_vit_attn_backend, register_attention_backend
    from .batcher import Batcher
    from .bridges.registration import register_transformers
    from .bridges.vlm import build_vlm
    from .builder import VisionEncoderBuilder
    from .checking import validate
    from .composing import compose
    from .config_json import config_from
    from .encoder import ComposedVisionEncoder
    from .encoders import (
        VisionEncoderInfo,
        VisionLanguageConfig,
        get_vision_encoder_info,
        register_encoder,
    )
    from .errors import VisionComposerError
    from .export.exporting import export_encoder
    from .fused_encoder import FusedVisionEncoder
    from .jobs import encode_dataset, read_features, register_pooler
    from .parallel import (
        get_load_balance_assignment,
        run_dp_sharded_mrope_vision_model,
        run_dp_sharded_vision_model,
    )
    from .planning import FusedPlan, Plan, plan
    from .presets import load_config
    from .probe import LayerProbe, ProbeReport, probe_layers
    from .registry import load_plugin
    from .report import inspect_images, write_report
    from .running.compilation import should_torch_compile_mm_vit
    from .schemas import FusedConfig, TowerConfig
    from .tower.mrope import get_llm_pos_ids_for_vision, mrope_position_ids
    from .tower.selection import (
        VisionFeatureSelectStrategy,
        VisionFeatureSelectStrategyStr,
        get_num_selected_vision_tokens,
        register_feature_selector,
        resolve_visual_encoder_outputs,
    )
    from .vision_encoder import VisionEncoder

_HOME = {
    "attention": ("AttentionBackend", "get_vit_attn_backend", "register_attention_backend"),
    "batcher": ("Batcher",),
    "bridges.registration": ("register_transformers",),
    "bridges.vlm": ("build_vlm",),
    "builder": ("VisionEncoderBuilder",),
    "checking": ("validate",),
    "composing": ("compose",),
    "config_json": ("config_from",),
    "encoder": ("ComposedVisionEncoder",),
    "encoders": ("VisionEncoderInfo", "VisionLanguageConfig", "get_vision_encoder_info", "register_encoder"),
    "errors": ("VisionComposerError",),
    "export.exporting": ("export_encoder",),
    "fused_encoder": ("FusedVisionEncoder",),
    "jobs": ("encode_dataset", "read_features", "register_pooler"),
    "parallel": (
        "get_load_balance_assignment",
        "run_dp_sharded_mrope_vision_model",
        "run_dp_sharded_vision_model",
    ),
    "planning": ("FusedPlan", "Plan", "plan"),
    "presets": ("load_config",),
    "probe": ("LayerProbe", "ProbeReport", "probe_layers"),
    "registry": ("load_plugin",),
    "report": ("inspect_images", "write_report"),
    "running.compilation": ("should_torch_compile_mm_vit",),
    "schemas": ("FusedConfig", "TowerConfig"),
    "tower.mrope": ("get_llm_pos_ids_for_vision", "mrope_position_ids"),
    "tower.selection": (
        "VisionFeatureSelectStrategy",
        "VisionFeatureSelectStrategyStr",
        "get_num_selected_vision_tokens",
        "register_feature_selector",
        "resolve_visual_encoder_outputs",
    ),
    "vision_encoder": ("VisionEncoder",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "AttentionBackend",
    "Batcher",
    "ComposedVisionEncoder",
    "FusedConfig",
    "FusedPlan",
    "FusedVisionEncoder",
    "LayerProbe",
    "Plan",
    "ProbeReport",
    "TowerConfig",
    "VisionComposerError",
    "VisionEncoder",
    "VisionEncoderBuilder",
    "VisionEncoderInfo",
    "VisionFeatureSelectStrategy",
    "VisionFeatureSelectStrategyStr",
    "VisionLanguageConfig",
    "__version__",
    "build_vlm",
    "compose",
    "config_from",
    "encode_dataset",
    "export_encoder",
    "get_llm_pos_ids_for_vision",
    "get_load_balance_assignment",
    "get_num_selected_vision_tokens",
    "get_vision_encoder_info",
    "get_vit_attn_backend",
    "inspect_images",
    "load_config",
    "load_plugin",
    "mrope_position_ids",
    "plan",
    "probe_layers",
    "read_features",
    "register_attention_backend",
    "register_encoder",
    "register_feature_selector",
    "register_pooler",
    "register_transformers",
    "resolve_visual_encoder_outputs",
    "run_dp_sharded_mrope_vision_model",
    "run_dp_sharded_vision_model",
    "should_torch_compile_mm_vit",
    "validate",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *_MODULE_OF]
