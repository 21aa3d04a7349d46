"""The Muse line, whose image processor transformers has on torchvision only."""

from __future__ import annotations

from typing import Any

import transformers

from .merged import VIT
from .parts import TEXT
from .tiled import Values

_IDS = {"image_token_id": 63, "video_token_id": 62}
_VISION = VIT | {"pos_emb_height": 5, "pos_emb_width": 5}
_TEXT = TEXT | {"pad_token_id": 0, "rms_norm_eps": 1e-3}


def _processor(vision: dict[str, Any]) -> Values:
    names = {"patch_size": "patch_size", "patch_temporal": "temporal_patch_size", "merge_size": "merge_size"}
    sizes = {theirs: vision[ours] for ours, theirs in names.items() if ours in vision}
    return Values("MuseGlimmerImageProcessor", max_image_tokens=50, **sizes)


def muse_glimmer(**changed: Any) -> tuple[Any, Any]:
    vision = _VISION | changed
    config = transformers.MuseGlimmerConfig(
        vision_config=vision,
        text_config=_TEXT | {"model_type": "muse_glimmer_text"},
        out_hidden_size=32 * vision.get("merge_size", 2) ** 2,
        projector_hidden_size=28,
        **_IDS,
    )
    return transformers.MuseGlimmerForConditionalGeneration(config), _processor(vision)


def muse_spark() -> tuple[Any, Any]:
    audio = {"hidden_sizes": [8, 8, 8, 8], "out_hidden_size": 40}
    config = transformers.MuseSparkConfig(
        vision_config=_VISION,
        text_config=_TEXT | {"model_type": "muse_spark_text", "moe_hidden_size": 16, "num_local_experts": 2},
        audio_config=audio,
        out_hidden_size=128,
        projector_hidden_size=28,
        projector_hidden_act="silu",
        **_IDS,
    )
    return transformers.MuseSparkForConditionalGeneration(config), _processor(_VISION)


VLMS = {
    "muse_glimmer": muse_glimmer,
    "muse_glimmer/merge3": lambda: muse_glimmer(
        merge_size=3,
        patch_temporal=1,
        hidden_act="silu",
        layer_norm_eps=1e-3,
        layer_types=["full_attention", "window_attention", "window_attention"],
    ),
    "muse_spark": muse_spark,
}
