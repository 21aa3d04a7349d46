"""transformers' ``config.json`` as a config of ours, read as JSON: loads neither torch nor transformers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .encoders import encoder_from_transformers
from .errors import ConfigError, InputError, Problem
from .text import did_you_mean

_COMMIT = re.compile(r"[0-9a-f]{40}")
_DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class _Reading:
    """How a model reads its vision tower.

    Attributes:
        tower: The model_type of a vision_config that does not say its own.
        layer: Default of vision_feature_layer; None for a model that reads the tower's own output.
        strategy: Default of vision_feature_select_strategy; or, without a layer, what the model always does.
        chooses: Whether its config can choose another strategy.
        last_is_normed: Whether its layer -1 means last_hidden_state.
    """

    tower: str
    layer: int | list[int] | None = None
    strategy: Literal["default", "full"] = "full"
    chooses: bool = True
    last_is_normed: bool = False


_CLIP, _SIGLIP = "clip_vision_model", "siglip_vision_model"
_READINGS = {
    **{
        name: _Reading(_CLIP, -2, "default")
        for name in ("llava", "llava_next", "llava_next_video", "video_llava")
    },
    "vipllava": _Reading(_CLIP, [-2, -5, -8, -11, 6], "default", chooses=False),
    "llava_onevision": _Reading(_SIGLIP, -1),
    "aya_vision": _Reading(_SIGLIP, -1),
    "internvl": _Reading("internvl_vision", -1, "default", last_is_normed=True),
    **{
        name: _Reading(_SIGLIP)
        for name in ("paligemma", "gemma3", "shieldgemma2", "cohere2_vision", "siglip", "deepseek_vl")
    },
    **{
        name: _Reading(f"{name}_vision")
        for name in ("glm4v", "kimi_k25", "minimax_m3_vl", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5")
    },
    "glm4v_moe": _Reading("glm4v_vision"),
    "glm46v": _Reading("glm4v_vision"),
    "qwen3_vl_moe": _Reading("qwen3_vl_vision"),
    "qwen3_5_moe": _Reading("qwen3_5_vision"),
    "mistral3": _Reading("pixtral", -1, chooses=False),
    "lighton_ocr": _Reading("pixtral"),
    "clip": _Reading(_CLIP),
    "metaclip_2": _Reading("metaclip_2_vision_model"),
    "aimv2": _Reading("aimv2_vision_model"),
    "blip-2": _Reading("blip_2_vision_model"),
    "got_ocr2": _Reading("got_ocr2_vision"),
    "mllama": _Reading("mllama_vision_model"),
    "nemotron_h_omni": _Reading("radio", strategy="default"),
    "llama4": _Reading("llama4_vision_model"),
    **{name: _Reading("siglip2_vision_model") for name in ("siglip2", "lfm2_vl")},
    "idefics2": _Reading("idefics2_vision"),
    "idefics3": _Reading("idefics3_vision"),
    "aria": _Reading("idefics3_vision", -1, chooses=False),
    "smolvlm": _Reading("smolvlm_vision"),
    "gemma4": _Reading("gemma4_vision"),
}
"""model_type of a model with a vision_config -> how it reads it."""


def tower_from_transformers(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a config that mean the vision tower of a transformers config, as its model reads it.

    Args:
        fields: What ``config.json`` of a vision encoder or a vision-language model holds.

    Raises:
        ConfigError: No family for the encoder, no rule for the model, or a choice that no config can express.
    """
    vision = fields.get("vision_config")
    if vision is None:
        return {"schema": 1, "encoder": _encoder(fields), **_dtype(fields)}
    if not isinstance(vision, Mapping):
        raise _error("vision_config", "expected an object")
    model_type = str(fields.get("model_type"))
    if model_type not in _READINGS:
        known = ", ".join(sorted(_READINGS))
        hint = did_you_mean(model_type, _READINGS)
        message = (
            f"how {model_type!r} reads its tower is not known{hint}; known: {known}. "
            "For the encoder alone, save the vision_config as a file of its own"
        )
        raise _error("model_type", message)
    reading = _READINGS[model_type]
    # On the hub some name the whole model here, and the oldest transformers leaves it empty.
    if vision.get("model_type") in (model_type, "", None):
        vision = {**vision, "model_type": reading.tower}
    encoder = _encoder(vision)
    selection = _selection(fields, reading)
    if reading.layer is not None and selection.get("feature_select_strategy") == "default":
        _check_first_token(encoder)
    return {"schema": 1, "encoder": encoder, **_dtype(fields), **selection}


def tower_of_config_json(source: str, revision: str | None = None) -> dict[str, Any]:
    """The config that a ``config.json`` means, its weights read from beside it.

    Args:
        source: The file, its folder, or a hub id, whose commit is pinned.
        revision: Branch, tag or commit of a hub id.

    Raises:
        ConfigError: As :func:`tower_from_transformers`.
        InputError: There is no such file, or it is not a JSON object.
    """
    path = Path(source).expanduser()
    weights: dict[str, Any] = {}
    if path.exists():
        file = path / "config.json" if path.is_dir() else path
        if any(each.suffix in (".safetensors", ".bin") for each in file.parent.iterdir()):
            weights = {"source": str(file.parent.absolute())}
    else:
        file = _from_hub(source, revision)
        commit = file.parent.name  # the hub's cache keeps a snapshot by its commit
        weights = {"source": source, "revision": commit if _COMMIT.fullmatch(commit) else revision}
    try:
        fields = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: cannot be read as JSON: {error}") from error
    if not isinstance(fields, dict):
        raise InputError(f"{file}: expected a JSON object, not {type(fields).__name__}")
    tower = tower_from_transformers(fields)
    weights = weights | tower.pop("weights", {})
    return {**tower, "source": f"config.json of {source}", "weights": weights}


def _encoder(fields: Mapping[str, Any]) -> dict[str, Any]:
    return encoder_from_transformers(fields).model_dump(mode="json", exclude_unset=True)


def _dtype(fields: Mapping[str, Any]) -> dict[str, Any]:
    dtype = fields.get("dtype") or fields.get("torch_dtype")
    return {"weights": {"dtype": dtype}} if dtype in _DTYPES else {}


def _selection(fields: Mapping[str, Any], reading: _Reading) -> dict[str, Any]:
    if reading.layer is None:
        return {} if reading.strategy == "full" else {"feature_select_strategy": reading.strategy}
    layer = fields.get("vision_feature_layer", reading.layer)
    layers = layer if isinstance(layer, list) else [layer]
    strategy = reading.strategy
    if reading.chooses:
        strategy = fields.get("vision_feature_select_strategy", strategy)
    if strategy not in ("default", "full"):
        raise _error("vision_feature_select_strategy", f"expected 'default' or 'full', got {strategy!r}")
    if reading.last_is_normed and layers == [-1]:
        return {"feature_select_strategy": strategy}
    return {"select_layers": layers, "feature_select_strategy": strategy, "post_norm": "none"}


def _check_first_token(encoder: Mapping[str, Any]) -> None:
    """transformers drops the first token, whatever it is; here, ``default`` drops the prefix tokens."""
    prefix = encoder_from_transformers(encoder).num_prefix_tokens
    if prefix != 1:
        message = (
            f"'default' makes transformers drop the first token, but {encoder['model_type']} has {prefix} "
            "prefix tokens: no config says that; 'full' keeps all"
        )
        raise _error("vision_feature_select_strategy", message)


def _from_hub(repo: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(hf_hub_download(repo, "config.json", revision=revision))
    except HFValidationError as error:
        raise InputError(f"{repo}: neither a file, a folder, nor a hub id") from error
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{repo}: no such file or folder, and no config.json from the hub: {reason}"
        ) from error


def _error(path: str, message: str) -> ConfigError:
    return ConfigError(Problem("VC104", message, path))
