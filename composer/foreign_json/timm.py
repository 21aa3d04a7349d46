"""timm's config.json: the name of an architecture, what was changed in it, and how images are prepared.

The sizes stand in the name. Only names whose blocks a family here computes are known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from .fields import Fields, Foreign, shown
from .processing import IMAGENET, image_processor

_CROP = 0.875
"""timm's crop_pct where its config says none."""


class _Size(NamedTuple):
    width: int
    depth: int
    heads: int
    mlp: float = 4.0


_SIZES = {
    "tiny": _Size(192, 12, 3),
    "small": _Size(384, 12, 6),
    "small_plus": _Size(384, 12, 6),
    "medium": _Size(512, 12, 8),
    "base": _Size(768, 12, 12),
    "large": _Size(1024, 24, 16),
    "so400m": _Size(1152, 27, 16, 3.7362),
    "huge": _Size(1280, 32, 16),
    "huge_plus": _Size(1280, 32, 20),
    "giant": _Size(1408, 40, 16, 48 / 11),
    "giantopt": _Size(1536, 40, 16),
    "gigantic": _Size(1664, 48, 16, 64 / 13),
    "7b": _Size(4096, 40, 32, 2.0),
}
"""Word in a name -> width, blocks, attention heads, and the MLP's width in multiples of the width."""
_DINOV2_GIANT = _Size(1536, 40, 24)
_NAME = re.compile(
    r"(?P<maker>vit_|deit_|eva_)(?P<size>[a-z0-9]+?(?:_plus)?)_patch(?P<patch>\d{1,3})"
    r"(?:_(?P<kind>clip_quickgelu|clip|siglip_gap|siglip|reg4_dinov2|dinov2|dinov3_qkvb|dinov3|gap))?"
    r"(?:_(?P<side>\d{2,4}))?"
)
_ARGUMENTS = {
    *("embed_dim", "depth", "num_heads", "mlp_ratio", "in_chans", "img_size", "patch_size"),
    *("num_classes", "global_pool", "dynamic_img_size", "dynamic_img_pad"),
    *(f"{part}drop_rate" for part in ("", "proj_", "attn_", "pos_", "patch_")),
    "drop_path_rate",
}
"""Arguments of timm's models that are understood here."""


def from_timm(fields: Fields) -> Foreign:
    """Return what timm's config.json says.

    Raises:
        ConfigError: If no family fits its architecture, or a value is of no use.
    """
    said = fields.part("pretrained_cfg") if "pretrained_cfg" in fields.values else fields
    size = said.values.get("input_size")
    if isinstance(size, (list, tuple)) and len(size) == 3:
        said = Fields({**said.values, "input_size": list(size)[1:], "in_chans": size[0]}, said.path)
    encoder = timm_encoder(
        fields,
        "architecture",
        arguments=fields.part("model_args"),
        side=said.whole("input_size", 0),
        tag=said.text("tag", ""),
    )
    width = fields.whole("num_features", encoder["hidden_size"])
    if width != encoder["hidden_size"]:
        message = f"{width}, but an encoder of this architecture is {encoder['hidden_size']} wide"
        raise fields.fault("num_features", message)
    mode = said.text("crop_mode", "center")
    side = encoder["image_size"]
    block = image_processor(
        said,
        IMAGENET,
        scale=math.floor(side / said.number("crop_pct", _CROP)),
        side=side,
        squash=mode == "squash",
    )
    left_out = () if mode in ("center", "squash") else (f"{said.at('crop_mode')}: {shown(mode)}",)
    return Foreign({"schema": 1, "encoder": encoder, "image_processor": block}, left_out)


def timm_encoder(fields: Fields, key: str, *, arguments: Fields, side: int, tag: str = "") -> dict[str, Any]:
    """Return the encoder block of an architecture.

    Args:
        fields: Where its name stands.
        key: The key of its name.
        arguments: What was changed in it: arguments of timm's class.
        side: Side in pixels of its images; 0 for that of its name.
        tag: The name of its weights.
    """
    name = fields.text(key, "")
    found = _NAME.fullmatch(name)
    make = None if found is None else _MAKERS.get(_kind(found, tag))
    size = None if found is None else _SIZES.get(found["size"])
    if found is None or make is None or size is None:
        message = (
            f"timm's {shown(name)} is none of the vision transformers that a family here computes; a plugin "
            "can bring one (docs/plugins.md)"
        )
        raise fields.fault(key, message)
    if unknown := [argument for argument in arguments.values if argument not in _ARGUMENTS]:
        message = "what this changes in timm's model is not known here; write the encoder block yourself"
        raise arguments.fault(unknown[0], message)
    if "dinov2" in name and found["size"] == "giant":
        size = _DINOV2_GIANT
    size = _Size(
        arguments.whole("embed_dim", size.width),
        arguments.whole("depth", size.depth),
        arguments.whole("num_heads", size.heads),
        arguments.number("mlp_ratio", size.mlp),
    )
    sizes = {
        "hidden_size": size.width,
        "num_hidden_layers": size.depth,
        "num_attention_heads": size.heads,
        "image_size": arguments.whole("img_size", side or int(found["side"] or 0) or 224),
        "patch_size": arguments.whole("patch_size", int(found["patch"])),
    }
    if (channels := arguments.whole("in_chans", 3)) != 3:
        sizes["num_channels"] = channels
    return make(found, sizes, size.mlp)


def _kind(found: re.Match[str], tag: str) -> str:
    kind = found["kind"] or "plain"
    if found["maker"] == "deit_" and kind != "plain":
        return "unknown"
    if found["maker"] == "eva_":
        return "eva" if kind in ("plain", "clip") and found["size"] == "giant" else "unknown"
    return "ijepa" if kind == "gap" and "ijepa" in tag else kind


def _vit(found: re.Match[str], sizes: dict[str, int], mlp: float) -> dict[str, Any]:
    return {"model_type": "vit", **sizes, **_wide(sizes, mlp), "hidden_act": "gelu", "layer_norm_eps": 1e-6}


def _ijepa(found: re.Match[str], sizes: dict[str, int], mlp: float) -> dict[str, Any]:
    return {**_vit(found, sizes, mlp), "model_type": "ijepa"}


def _eva(found: re.Match[str], sizes: dict[str, int], mlp: float) -> dict[str, Any]:
    return {**_vit(found, sizes, mlp), "model_type": "blip_2_vision_model"}


def _clip(found: re.Match[str], sizes: dict[str, int], mlp: float) -> dict[str, Any]:
    act = "quick_gelu" if found["kind"] == "clip_quickgelu" else "gelu"
    return {
        **{"model_type": "clip_vision_model", **sizes, **_wide(sizes, mlp)},
        **{"hidden_act": act, "layer_norm_eps": 1e-5},
    }


def _siglip(found: re.Match[str], sizes: dict[str, int], mlp: float) -> dict[str, Any]:
    # The approximation by tanh came with some of the later models.
    named = (found["size"], found["patch"], found["side"])
    tanh = named[0] == "giantopt" or named[:2] in (("base", "32"), ("so400m", "16"))
    return {
        **{"model_type": "siglip_vision_model", **sizes, **_wide(sizes, mlp)},
        "hidden_act": "gelu_pytorch_tanh" if tanh or named == ("large", "16", "512") else "gelu",
        "layer_norm_eps": 1e-6,
        "vision_use_head": found["kind"] == "siglip",
    }


def _dinov2(found: re.Match[str], sizes: dict[str, int], mlp: float) -> dict[str, Any]:
    registers = found["kind"] == "reg4_dinov2"
    return {
        "model_type": "dinov2_with_registers" if registers else "dinov2",
        **sizes,
        **{"mlp_ratio": round(mlp), "layer_norm_eps": 1e-6},
        **({"use_swiglu_ffn": True} if found["size"] == "giant" else {}),
    }


def _dinov3(found: re.Match[str], sizes: dict[str, int], mlp: float) -> dict[str, Any]:
    gated = found["size"].endswith("_plus") or found["size"] == "7b"
    bias = found["kind"] == "dinov3_qkvb"
    return {
        **{"model_type": "dinov3_vit", **sizes, **_wide(sizes, mlp)},
        **({"use_gated_mlp": True, "hidden_act": "silu"} if gated else {"hidden_act": "gelu"}),
        **{"layer_norm_eps": 1e-5, "num_register_tokens": 4},
        **{"query_bias": bias, "key_bias": False, "value_bias": bias},
    }


def _wide(sizes: dict[str, int], mlp: float) -> dict[str, int]:
    return {"intermediate_size": int(sizes["hidden_size"] * mlp)}


_MAKERS: dict[str, Callable[[re.Match[str], dict[str, int], float], dict[str, Any]]] = {
    "plain": _vit,
    "ijepa": _ijepa,
    "eva": _eva,
    "clip": _clip,
    "clip_quickgelu": _clip,
    "siglip": _siglip,
    "siglip_gap": _siglip,
    "dinov2": _dinov2,
    "reg4_dinov2": _dinov2,
    "dinov3": _dinov3,
    "dinov3_qkvb": _dinov3,
}
"""What a name says behind its patch -> the block of its family."""
