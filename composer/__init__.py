"""A YAML file in, the vision encoder of a vision-language model out.

The public names are imported on first use, so that ``import vision_composer`` costs nothing and the
torch-free half (``schemas``, ``presets``, ``plan``) never loads torch.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .attention import AttentionBackend, get_vit_attn_backend, register_attention_backend
    from .builder import VisionEncoderBuilder
    from .compilation import should_torch_compile_mm_vit
    from .compose import compose
    from .encoders import (
        VisionEncoderInfo,
        VisionLanguageConfig,
        get_vision_encoder_info,
        register_encoder,
    )
    from .errors import VisionComposerError
    from .features import (
        VisionFeatureSelectStrategy,
        VisionFeatureSelectStrategyStr,
        get_num_selected_vision_tokens,
        register_feature_selector,
        resolve_visual_encoder_outputs,
    )
    from .parallel import (
        get_load_balance_assignment,
        run_dp_sharded_mrope_vision_model,
        run_dp_sharded_vision_model,
    )
    from .plan import Plan, plan
    from .positions import get_llm_pos_ids_for_vision, mrope_position_ids
    from .presets import load_config
    from .registry import load_plugin
    from .schemas import TowerConfig
    from .tower import ComposedVisionEncoder

_HOME = {
    "attention": ("AttentionBackend", "get_vit_attn_backend", "register_attention_backend"),
    "builder": ("VisionEncoderBuilder",),
    "compilation": ("should_torch_compile_mm_vit",),
    "compose": ("compose",),
    "encoders": ("VisionEncoderInfo", "VisionLanguageConfig", "get_vision_encoder_info", "register_encoder"),
    "errors": ("VisionComposerError",),
    "features": (
        "VisionFeatureSelectStrategy",
        "VisionFeatureSelectStrategyStr",
        "get_num_selected_vision_tokens",
        "register_feature_selector",
        "resolve_visual_encoder_outputs",
    ),
    "parallel": (
        "get_load_balance_assignment",
        "run_dp_sharded_mrope_vision_model",
        "run_dp_sharded_vision_model",
    ),
    "plan": ("Plan", "plan"),
    "positions": ("get_llm_pos_ids_for_vision", "mrope_position_ids"),
    "presets": ("load_config",),
    "registry": ("load_plugin",),
    "schemas": ("TowerConfig",),
    "tower": ("ComposedVisionEncoder",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "AttentionBackend",
    "ComposedVisionEncoder",
    "Plan",
    "TowerConfig",
    "VisionComposerError",
    "VisionEncoderBuilder",
    "VisionEncoderInfo",
    "VisionFeatureSelectStrategy",
    "VisionFeatureSelectStrategyStr",
    "VisionLanguageConfig",
    "__version__",
    "compose",
    "get_llm_pos_ids_for_vision",
    "get_load_balance_assignment",
    "get_num_selected_vision_tokens",
    "get_vision_encoder_info",
    "get_vit_attn_backend",
    "load_config",
    "load_plugin",
    "mrope_position_ids",
    "plan",
    "register_attention_backend",
    "register_encoder",
    "register_feature_selector",
    "resolve_visual_encoder_outputs",
    "run_dp_sharded_mrope_vision_model",
    "run_dp_sharded_vision_model",
    "should_torch_compile_mm_vit",
]


class _Package(ModuleType):
    """Keeps ``vision_composer.compose`` and ``.plan`` the functions, though modules carry those names too.

    The import system binds every submodule on its package after loading it, over whatever stood there.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _MODULE_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *_MODULE_OF]
