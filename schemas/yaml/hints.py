"""What somebody probably meant by a key or a value that this format spells in another way, or elsewhere."""

from __future__ import annotations

from ..base import ConfigModel
from ..config import TowerConfig
from ..encoders import ENCODER_CONFIGS
from ..fusion import FusedConfig
from ..image_processor import ImageProcessorConfig
from ..running import CompileConfig, ParallelConfig, TrainingConfig
from ..weights import WeightsConfig
from .nodes import Loc

_ROOT = {
    *(field.alias or name for name, field in (TowerConfig.model_fields | FusedConfig.model_fields).items()),
    "extends",
}
_BLOCKS: dict[str, type[ConfigModel]] = {
    "image_processor": ImageProcessorConfig,
    "weights": WeightsConfig,
    "compile": CompileConfig,
    "parallel": ParallelConfig,
    "training": TrainingConfig,
}

_CALLED_HERE = {
    "attn_implementation": "attn_backend",
    "do_center_crop": "image_processor.crop",
    "do_pad": "image_processor.pad",
    "from_pretrained": "weights.source",
    "image_mean": "image_processor.mean",
    "image_processor_type": "image_processor.type",
    "image_std": "image_processor.std",
    "mm_vision_select_feature": "feature_select_strategy",
    "mm_vision_select_layer": "select_layers",
    "mm_vision_tower": "weights.source",
    "pretrained": "weights.source",
    "pretrained_model_name_or_path": "weights.source",
    "torch_dtype": "weights.dtype",
    "version": "schema",
    "vision_feature_layer": "select_layers",
    "vision_feature_select_strategy": "feature_select_strategy",
    "vision_tower": "weights.source",
}
"""Keys of transformers' and LLaVA's configs of vision-language models -> ours."""

_WITH_TOWERS = {
    "encoder": "every encoder is in a tower",
    "reduce": "tokens are not reduced",
    "tiling": "an image is taken whole, not cut into tiles",
}
"""Keys at the root of one tower -> what holds of several."""

_SAME_FIELD = (
    {"num_hidden_layers", "depth", "num_layers"},
    {"num_attention_heads", "num_heads"},
    {"num_channels", "in_channels", "in_chans"},
    {"hidden_size", "embed_dim"},
)
"""What transformers calls by several names, one in each family."""

_SAME_VALUE = {
    "bf16": "bfloat16",
    "float": "float32",
    "fp16": "float16",
    "fp32": "float32",
    "half": "float16",
}


def same_value(value: object, choices: list[str]) -> str:
    """`` (did you mean 'x'?)`` for another's name of one of ``choices``, or an empty string."""
    ours = _SAME_VALUE.get(value) if isinstance(value, str) else None
    return f" (did you mean '{ours}'?)" if ours in choices else ""


def misplaced(path: Loc, model_type: object) -> str:
    """Where the unknown key at ``path`` belongs, as the end of a message; an empty string when nobody knows.

    Args:
        path: The key, its block in front of it.
        model_type: What the config's encoder block says.
    """
    *block, key = path
    if not isinstance(key, str):
        return ""
    if not block and key == "vision_config":
        return "; `vision-composer init --from config.json` makes a config of transformers'"
    if not block and key in TowerConfig.model_fields:
        return f"; with towers {_WITH_TOWERS.get(key, 'it belongs in each tower')}"
    if not block and key in _CALLED_HERE:
        return f"; here it is {_CALLED_HERE[key]}"
    models = dict.fromkeys(ENCODER_CONFIGS.values())
    families = sorted(model.model_types()[0] for model in models if key in model.model_fields)
    if block == ["encoder"] and (found := _in_encoder(key, model_type)):
        return found
    if block and key in _ROOT:
        return "; it belongs at the root, outside this block"
    blocks = [name for name, model in _BLOCKS.items() if key in model.model_fields and [name] != block]
    if blocks and not families:
        return f"; it belongs in {' or '.join(blocks)}"
    if block == ["encoder"] and 0 < len(families) < 4:
        return f"; {', '.join(families)} {'have' if len(families) > 1 else 'has'} it"
    return "; it belongs in encoder" if families and block != ["encoder"] else ""


def _in_encoder(key: str, model_type: object) -> str:
    """What the config's own family calls ``key``, which another family has."""
    model = ENCODER_CONFIGS.get(model_type) if isinstance(model_type, str) else None
    for names in _SAME_FIELD:
        ours = [name for name in names if model and name in model.model_fields]
        if key in names and ours:
            return f"; this family calls it {ours[0]}"
    return ""
