"""Qwen3-Omni (``Qwen3OmniMoeVisionEncoder``): Qwen3-VL's tower with other names."""

from __future__ import annotations

from typing import ClassVar

from ..schemas.encoders.qwen3_5 import Qwen3_5VisionEncoderConfig
from .qwen3_vl import Qwen3VL
from .reading import Reading
from .shapes import Shapes, layer_norm, linear


class Qwen3OmniMoe(Qwen3VL):
    """The family of qwen3_omni_moe_vision_encoder."""

    model_type = "qwen3_omni_moe_vision_encoder"
    module = "transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe"
    model_class = "Qwen3OmniMoeVisionEncoder"
    config_class = "Qwen3OmniMoeVisionEncoderConfig"
    other_names: ClassVar[tuple[str, ...]] = ()
    read_by: ClassVar = {"qwen3_omni_moe_thinker": Reading()}
    level_merger = "merger_list.{}"

    def merger_shapes(self, encoder: Qwen3_5VisionEncoderConfig, norm_width: int) -> Shapes:
        joined = encoder.width * encoder.spatial_merge_size**2
        return {
            **layer_norm("ln_q", norm_width),
            **linear("mlp.0", joined, joined),
            **linear("mlp.2", joined, encoder.merged_width),
        }
