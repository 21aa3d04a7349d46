"""open_clip's open_clip_config.json: ``model_cfg.vision_cfg``, and ``preprocess_cfg`` beside it."""

from __future__ import annotations

from typing import Any

from .fields import Fields, Foreign, shown
from .processing import OPENAI, image_processor
from .timm import timm_encoder

_READ = {
    "layers",
    "width",
    "head_width",
    "mlp_ratio",
    "patch_size",
    "image_size",
    "act_kwargs",
    "norm_kwargs",
}
_INERT = {
    *("patch_dropout", "drop_path_rate", "output_tokens", "attn_pooler_queries", "attn_pooler_heads"),
    *("pool_type", "global_average_pool", "final_ln_after_pool", "n_queries"),
    *("timm_model_pretrained", "timm_pool", "timm_proj", "timm_proj_bias", "timm_drop", "timm_drop_path"),
    "timm_model_name",
}
"""What is for training, and what comes behind the last hidden state."""
_OTHER_BLOCKS = ("no_ln_pre", "attentional_pool", "ls_init_value", "input_patchnorm", "eva_model_name")
"""What changes the tower into one that CLIP's family does not compute, if it is set."""


def from_open_clip(fields: Fields) -> Foreign:
    """Return what open_clip's config says of its tower.

    Raises:
        ConfigError: If no family fits it, or a value is of no use.
    """
    model = fields.part("model_cfg") if "model_cfg" in fields.values else fields
    vision, images = model.part("vision_cfg"), fields.part("preprocess_cfg")
    if not vision.values:
        raise model.fault("vision_cfg", "missing: open_clip's config says there what its tower is")
    side = vision.whole("image_size", 224)
    if vision.text("timm_model_name", ""):
        nothing = Fields({}, vision.path)
        encoder = timm_encoder(vision, "timm_model_name", arguments=nothing, side=side)
    else:
        encoder = _clip(model, vision, side)
    mode = images.text("resize_mode", "shortest")
    block = image_processor(
        images, OPENAI, scale=images.whole("size", side), side=side, squash=mode == "squash"
    )
    left_out = vision.set_beside(_READ | _INERT)
    if mode not in ("shortest", "squash"):
        left_out = (*left_out, f"{images.at('resize_mode')}: {shown(mode)}")
    return Foreign({"schema": 1, "encoder": encoder, "image_processor": block}, left_out)


def _clip(model: Fields, vision: Fields, side: int) -> dict[str, Any]:
    if isinstance(vision.values.get("layers"), (list, tuple)):
        raise vision.fault("layers", "open_clip's ResNets have no family here; a plugin can bring one")
    changed = next((key for key in _OTHER_BLOCKS if vision.flag(key)), None)
    if changed is None and vision.text("pos_embed_type", "learnable") != "learnable":
        changed = "pos_embed_type"
    if changed is not None:
        message = "with this, open_clip's tower is another than CLIP's, and no family here computes it"
        raise vision.fault(changed, message)
    width = vision.whole("width", 768)
    return {
        "model_type": "clip_vision_model",
        "hidden_size": width,
        "intermediate_size": int(width * vision.number("mlp_ratio", 4.0)),
        "num_hidden_layers": vision.whole("layers", 12),
        "num_attention_heads": max(1, width // vision.whole("head_width", 64)),
        "image_size": side,
        "patch_size": vision.whole("patch_size", 16),
        "hidden_act": _act(model, vision),
        "layer_norm_eps": vision.part("norm_kwargs").number("eps", 1e-5),
    }


def _act(model: Fields, vision: Fields) -> str:
    if model.flag("quick_gelu"):
        return "quick_gelu"
    kwargs = vision.part("act_kwargs")
    if (approximate := kwargs.text("approximate", "none")) not in ("none", "tanh"):
        raise kwargs.fault("approximate", f"expected 'none' or 'tanh', got {shown(approximate)}")
    return "gelu_pytorch_tanh" if approximate == "tanh" else "gelu"
