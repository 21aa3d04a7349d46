"""The encoder families' config blocks, and the dispatch on ``model_type`` between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from ...registry import Registry
from ...text import did_you_mean
from ..base import invalid, problem
from .aimv2 import Aimv2VisionEncoderConfig
from .base import DenseEncoderConfig, EncoderConfig, RopeType
from .blip_2 import Blip2VisionEncoderConfig
from .clip import CLIPVisionEncoderConfig
from .dinov2 import Dinov2EncoderConfig
from .dinov2_with_registers import Dinov2WithRegistersEncoderConfig
from .dinov3_vit import DINOv3ViTEncoderConfig
from .gemma4 import Gemma4VisionEncoderConfig
from .generic import GenericEncoderConfig
from .glm4v import Glm4vVisionEncoderConfig
from .got_ocr2 import GotOcr2VisionEncoderConfig
from .idefics2 import Idefics2VisionEncoderConfig
from .idefics3 import Idefics3VisionEncoderConfig
from .internvl import InternVLVisionEncoderConfig
from .kimi_k25 import KimiK25VisionEncoderConfig
from .llama4 import Llama4VisionEncoderConfig
from .metaclip_2 import MetaClip2VisionEncoderConfig
from .minimax_m3_vl import MiniMaxM3VLVisionEncoderConfig
from .mlcd import MLCDVisionEncoderConfig
from .mllama import MllamaVisionEncoderConfig
from .pixtral import PixtralVisionEncoderConfig
from .qwen2_5_vl import Qwen2_5_VLVisionEncoderConfig
from .qwen2_vl import Qwen2VLVisionEncoderConfig
from .qwen3_5 import Qwen3_5VisionEncoderConfig
from .qwen3_vl import Qwen3VLVisionEncoderConfig
from .radio import RadioEncoderConfig
from .siglip import SiglipVisionEncoderConfig
from .siglip2 import Siglip2VisionEncoderConfig
from .smolvlm import SmolVLMVisionEncoderConfig

ENCODER_CONFIGS: dict[str, type[EncoderConfig]] = {
    "aimv2_vision_model": Aimv2VisionEncoderConfig,
    "blip_2_vision_model": Blip2VisionEncoderConfig,
    "clip_vision_model": CLIPVisionEncoderConfig,
    "dinov2": Dinov2EncoderConfig,
    "dinov2_with_registers": Dinov2WithRegistersEncoderConfig,
    "dinov3_vit": DINOv3ViTEncoderConfig,
    "gemma4_vision": Gemma4VisionEncoderConfig,
    "glm4v_vision": Glm4vVisionEncoderConfig,
    "got_ocr2_vision": GotOcr2VisionEncoderConfig,
    "idefics2_vision": Idefics2VisionEncoderConfig,
    "idefics3_vision": Idefics3VisionEncoderConfig,
    "internvl_vision": InternVLVisionEncoderConfig,
    "kimi_k25_vision": KimiK25VisionEncoderConfig,
    "llama4_vision_model": Llama4VisionEncoderConfig,
    "metaclip_2_vision_model": MetaClip2VisionEncoderConfig,
    "minimax_m3_vl_vision": MiniMaxM3VLVisionEncoderConfig,
    "mlcd_vision_model": MLCDVisionEncoderConfig,
    "mllama_vision_model": MllamaVisionEncoderConfig,
    "pixtral": PixtralVisionEncoderConfig,
    "qwen2_5_vl_vision": Qwen2_5_VLVisionEncoderConfig,
    "qwen2_vl_vision": Qwen2VLVisionEncoderConfig,
    "qwen3_5_vision": Qwen3_5VisionEncoderConfig,
    "qwen3_vl_vision": Qwen3VLVisionEncoderConfig,
    "radio": RadioEncoderConfig,
    "siglip2_vision_model": Siglip2VisionEncoderConfig,
    "siglip_vision_model": SiglipVisionEncoderConfig,
    "smolvlm_vision": SmolVLMVisionEncoderConfig,
}
"""model_type -> its config block. The families; anything else goes through the generic adapter."""

EncoderPlugin = tuple[type[EncoderConfig], type]
"""A family that a plugin adds: its config class, and its subclass of ``EncoderFamily``."""


def _check_plugin(name: str, plugin: Any) -> EncoderPlugin:
    """The half that can be checked without the families: a pair, and its config class."""
    if not (isinstance(plugin, tuple) and len(plugin) == 2 and all(isinstance(c, type) for c in plugin)):
        raise TypeError(
            f"expected two classes, (subclass of EncoderConfig, subclass of EncoderFamily), not {plugin!r}"
        )
    config_class, family = plugin
    if not issubclass(config_class, EncoderConfig):
        raise TypeError(f"{config_class.__name__} is not a subclass of vision_composer.schemas.EncoderConfig")
    if issubclass(config_class, GenericEncoderConfig):
        raise TypeError(f"{config_class.__name__} is a config of the generic adapter, which takes no family")
    if get_args(config_class.model_fields["model_type"].annotation) != (name,):
        raise TypeError(f'{config_class.__name__} must declare model_type: Literal["{name}"]')
    return config_class, family


ENCODER_PLUGINS = Registry[EncoderPlugin]("encoder", "encoders", ENCODER_CONFIGS, _check_plugin)
"""model_type -> family, of those that plugins add."""

_ENCODER = "encoder"


def encoder_config(data: Any) -> EncoderConfig:
    """The config block of the family that ``data["model_type"]`` names.

    Dispatching here rather than through a pydantic Union keeps error locations equal to YAML paths.

    Raises:
        pydantic.ValidationError: Unknown or missing model_type, or whatever the family's model refuses.
        PluginError: The plugin that offers the model_type cannot be used.
    """
    if isinstance(data, EncoderConfig):
        return data
    if not isinstance(data, Mapping):
        message = "expected a mapping with a model_type"
        if isinstance(data, str) and data.startswith("model_type:"):
            message += "; put a space behind the colon"
        elif isinstance(data, str):
            message += "; a preset is named by extends, weights by weights.source"
        raise invalid(_ENCODER, problem("VC103", message, value=data))
    if "model_type" not in data:
        families = ", ".join([*ENCODER_CONFIGS, *ENCODER_PLUGINS.names()])
        message = f"missing key; one of: {families}"
        raise invalid(_ENCODER, problem("VC102", message, "model_type", value=data))
    model_type = data["model_type"]
    if isinstance(model_type, str) and model_type in ENCODER_CONFIGS:
        return ENCODER_CONFIGS[model_type].model_validate(data)
    if "prefix_tokens" in data:  # asks for the generic adapter, whatever plugins are installed
        return GenericEncoderConfig.model_validate(data)
    if isinstance(model_type, str) and (plugin := ENCODER_PLUGINS.get(model_type)):
        return plugin[0].model_validate(data)
    if not isinstance(model_type, str):
        raise invalid(_ENCODER, problem("string_type", "expected a string", "model_type", value=model_type))
    known = [*ENCODER_CONFIGS, *ENCODER_PLUGINS.names()]
    hint = did_you_mean(model_type, known)
    message = (
        f"unknown model_type {model_type!r}{hint}; families: {', '.join(known)}. Another vision "
        "encoder of transformers runs through the generic adapter once prefix_tokens says how many tokens "
        "stand in front of its patches"
    )
    raise invalid(_ENCODER, problem("VC105", message, "model_type", value=model_type))


AnyEncoderConfig = Annotated[
    EncoderConfig,
    PlainValidator(encoder_config),
    PlainSerializer(lambda encoder: encoder.model_dump(exclude_unset=True), return_type=dict[str, Any]),
    WithJsonSchema({"type": "object"}),  # the real one, by model_type, is made in json_schema.py
]

__all__ = [
    "ENCODER_CONFIGS",
    "ENCODER_PLUGINS",
    "AnyEncoderConfig",
    "DenseEncoderConfig",
    "EncoderConfig",
    "GenericEncoderConfig",
    "RopeType",
    "encoder_config",
]
