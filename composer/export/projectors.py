"""The connectors that llama.cpp runs, which it calls projectors, and what its graph of each takes.

The facts are those of llama.cpp's ``tools/mtmd/clip.cpp``. Loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any

from ..errors import ExportError
from ..schemas import TowerConfig
from ..tower.readout import HiddenStates, PooledHead, Readout


@dataclass(frozen=True)
class Projector:
    """A projector of llama.cpp.

    Attributes:
        type: Its name in a file.
        towers: model_type of the towers that its graph runs.
        names: What the names of the connector's tensors begin with -> what they begin with in a file.
        tiling: The type of tiling that llama.cpp does by itself; None if it takes images whole.
        joins_layers: Whether it concatenates several hidden states.
        patches_in_float32: Whether the patch embedding is kept in float32 beside matrices in float16.
    """

    type: str
    towers: tuple[str, ...]
    names: Mapping[str, str]
    tiling: str | None = None
    joins_layers: bool = False
    patches_in_float32: bool = False


PROJECTORS: Mapping[str, Projector] = {
    "llava": Projector(
        "mlp",
        ("clip_vision_model", "siglip_vision_model"),
        {"multi_modal_projector.linear_1.": "mm.0.", "multi_modal_projector.linear_2.": "mm.2."},
        joins_layers=True,
    ),
    "gemma3": Projector(
        "gemma3",
        ("siglip_vision_model",),
        {
            "multi_modal_projector.mm_input_projection_": "mm.input_projection.",
            "multi_modal_projector.mm_soft_emb_norm.": "mm.soft_emb_norm.",
        },
        patches_in_float32=True,
    ),
    "idefics3": Projector(
        "idefics3",
        ("idefics3_vision", "smolvlm_vision"),
        {"connector.modality_projection.proj.": "mm.model.fc."},
        tiling="idefics3",
        patches_in_float32=True,
    ),
    "lfm2_vl": Projector(
        "lfm2",
        ("siglip2_vision_model",),
        {
            "multi_modal_projector.layer_norm.": "mm.input_norm.",
            "multi_modal_projector.linear_1.": "mm.1.",
            "multi_modal_projector.linear_2.": "mm.2.",
        },
        tiling="lfm2_vl",
    ),
}
"""Type of a connector -> its projector."""

GELU = ("gelu", "gelu_pytorch_tanh")
"""Activations that llama.cpp computes by the approximation with tanh, which is exact for the second only."""
_BLOCK_ACTS = (*GELU, "quick_gelu", "silu")
_THREE_CHANNELS = 3


def projector_of(config: TowerConfig, readout: Readout) -> Projector:
    """Return the projector that runs an encoder's connector as transformers does.

    Args:
        config: The encoder's.
        readout: What the connector reads.

    Raises:
        ExportError: If there is none, or it would compute something else; says what and why.
    """
    name, connector = config.name or "this encoder", config.connector
    if config.output != "embeds":
        raise ExportError(
            f"{name} ends with the tower, and a GGUF file has the connector too; export it with output=embeds"
        )
    model_type, known = config.encoder.model_type, ", ".join(PROJECTORS)
    if connector is None or connector.type not in PROJECTORS:
        own = "no connector" if connector is None else f"the connector {connector.type}"
        raise ExportError(
            f"{name} has a {model_type} tower and {own}; GGUF files are written of the connectors {known}"
        )
    projector = PROJECTORS[connector.type]
    if model_type not in projector.towers:
        raise ExportError(
            f"{name} has a {model_type} tower; llama.cpp runs the connector {connector.type} behind "
            f"{' and '.join(projector.towers)}"
        )
    fields = config.encoder.model_dump()
    reasons = (
        _of_images(config, projector),
        _of_tower(fields),
        _of_connector(connector.model_dump(), fields),
        _of_readout(readout, projector),
    )
    for reason in filter(None, reasons):
        raise ExportError(f"{name} cannot be written for llama.cpp: {reason}")
    return projector


def layers_of(readout: Readout) -> tuple[int, ...]:
    """Return the hidden states that are read, 0 to N, in the order of the output."""
    return readout.layers if isinstance(readout, HiddenStates) else tuple(readout.keep)


def image_side(encoder: Mapping[str, Any]) -> int:
    """Return the side in pixels of the square image whose patches the position embeddings count.

    Args:
        encoder: The fields of the tower's block.
    """
    if "image_size" in encoder:
        return int(encoder["image_size"])
    return isqrt(encoder["num_patches"]) * int(encoder["patch_size"])


def pooled_side(encoder: Mapping[str, Any], connector: Mapping[str, Any]) -> int:
    """Return the patches along a side of the square that becomes one row; 1 where each patch is one.

    Args:
        encoder: The fields of the tower's block.
        connector: The fields of the connector's block.
    """
    if "mm_tokens_per_image" in connector:
        patches: int = image_side(encoder) // encoder["patch_size"]
        return patches // isqrt(connector["mm_tokens_per_image"])
    side: int = connector.get("scale_factor") or connector.get("downsample_factor") or 1
    return side


def _of_images(config: TowerConfig, projector: Projector) -> str | None:
    if config.tiling != "none" and config.tiling.type != projector.tiling:
        return "llama.cpp does not cut its images into such tiles; export it with tiling=none"
    return None


def _of_tower(fields: Mapping[str, Any]) -> str | None:
    if fields["num_channels"] != _THREE_CHANNELS:
        return f"llama.cpp gives its tower images of three channels, not {fields['num_channels']}"
    if (act := fields["hidden_act"]) not in _BLOCK_ACTS:
        return f"llama.cpp has no blocks with hidden_act {act}; it has {', '.join(_BLOCK_ACTS)}"
    if fields["hidden_size"] == fields["intermediate_size"]:
        # It tells the older files, in which the two are called by each other's names, by the widths.
        return "intermediate_size is hidden_size, and llama.cpp would take each MLP's layers for each other"
    return None


def _of_connector(connector: Mapping[str, Any], encoder: Mapping[str, Any]) -> str | None:
    if (act := connector.get("act", GELU[0])) not in GELU:
        return f"llama.cpp's connector has gelu between its layers, not {act}"
    if not connector.get("bias", True):
        return "llama.cpp's connector has biases"
    if "image_size" in encoder:  # else images come in any size
        side, patches = pooled_side(encoder, connector), encoder["image_size"] // encoder["patch_size"]
        if patches % side:
            return f"{patches} patches along a side make no whole squares of {side}"
    return None


def _of_readout(readout: Readout, projector: Projector) -> str | None:
    if isinstance(readout, PooledHead):
        return "llama.cpp has no pooling head"
    if not readout.selection.keeps_patches:
        return "llama.cpp gives the patches alone to the connector; set feature_select_strategy=default"
    layers = layers_of(readout)
    if len(layers) > 1 and not projector.joins_layers:
        return "llama.cpp gives one hidden state to its connector"
    if list(layers) != sorted(set(layers)):
        return "llama.cpp joins hidden states from the shallowest to the deepest, each once"
    if readout.norm_layers & set(layers[:-1]):
        return "llama.cpp norms the deepest hidden state alone; set post_norm to last or none"
    return None
