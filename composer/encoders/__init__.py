"""The encoder families: facts and stages, one file each. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from pydantic import ValidationError

from ..errors import ConfigError, Problem
from ..schemas import ENCODER_CONFIGS, EncoderConfig, encoder_config
from .aimv2 import AIMv2
from .base import EncoderFamily, Shapes, VisionEncoderInfo
from .clip import CLIP
from .dinov2 import DINOv2
from .dinov2_with_registers import DINOv2WithRegisters
from .dinov3_vit import DINOv3
from .generic import Generic
from .internvl import InternVL
from .metaclip_2 import MetaClip2
from .mlcd import MLCD
from .pixtral import Pixtral
from .qwen2_5_vl import Qwen25VL
from .qwen2_vl import Qwen2VL
from .qwen3_5 import Qwen35
from .qwen3_vl import Qwen3VL
from .siglip import SigLIP

FAMILIES: dict[str, EncoderFamily] = {
    family.model_type: family
    for family in (
        AIMv2(),
        CLIP(),
        DINOv2(),
        DINOv2WithRegisters(),
        DINOv3(),
        InternVL(),
        MetaClip2(),
        MLCD(),
        Pixtral(),
        Qwen25VL(),
        Qwen2VL(),
        Qwen35(),
        Qwen3VL(),
        SigLIP(),
    )
}
"""model_type -> family."""

_GENERIC = Generic()


def family_of(encoder: EncoderConfig) -> EncoderFamily:
    """The adapter that builds and runs ``encoder``."""
    return FAMILIES.get(encoder.model_type, _GENERIC)


@runtime_checkable
class VisionLanguageConfig(Protocol):
    """The config of a vision-language model: anything with a ``vision_config``."""

    vision_config: Any


def encoder_from_transformers(config: Any) -> EncoderConfig:
    """The encoder block of a transformers config.

    Args:
        config: A VLM's config (its ``vision_config`` is taken) or a vision config: an object with
            ``to_dict()`` or a mapping as in ``config.json``.

    Raises:
        ConfigError: No family for the model_type, or values that the family refuses.
    """
    fields: Mapping[str, Any] = config if isinstance(config, Mapping) else config.to_dict()
    if "vision_config" in fields:
        fields = fields["vision_config"]
    model_type = str(fields.get("model_type"))
    if model_type not in ENCODER_CONFIGS:
        raise ConfigError(
            Problem(
                "VC105", f"no family for model_type {model_type!r}; there are: {', '.join(ENCODER_CONFIGS)}"
            )
        )
    known = ENCODER_CONFIGS[model_type].model_fields
    try:
        return encoder_config({key: value for key, value in fields.items() if key in known})
    except ValidationError as error:
        raise ConfigError(
            [
                Problem("VC104", line["msg"], ".".join(map(str, ("vision_config", *line["loc"]))))
                for line in error.errors(include_url=False)
            ]
        ) from None


def get_vision_encoder_info(hf_config: VisionLanguageConfig | Any) -> VisionEncoderInfo:
    """Facts of the vision encoder that a transformers config describes.

    Args:
        hf_config: A VLM's config with a ``vision_config``, a vision config, or one of our encoder blocks.

    Raises:
        ConfigError: No family for the model_type, or values that the family refuses.
    """
    encoder = hf_config if isinstance(hf_config, EncoderConfig) else encoder_from_transformers(hf_config)
    return family_of(encoder).info(encoder)


__all__ = [
    "FAMILIES",
    "EncoderFamily",
    "Shapes",
    "VisionEncoderInfo",
    "VisionLanguageConfig",
    "encoder_from_transformers",
    "family_of",
    "get_vision_encoder_info",
]
