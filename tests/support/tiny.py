"""Tiny encoders of every family, made and saved by transformers: the truth of the parity tests."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from support.tiny_configs import ALL, ENCODERS, PACKED, PADDED, TILED, UNDECLARED
from vision_composer.encoders import FAMILIES, family_of
from vision_composer.schemas import encoder_config

__all__ = ["ALL", "ENCODERS", "PACKED", "PADDED", "TILED", "UNDECLARED"]


def encoder_of(model_type: str) -> dict[str, Any]:
    """The tiny encoder of a family, under the name of the family or of one of its variants."""
    return ALL[FAMILIES[model_type].model_type] | {"model_type": model_type}


def config(name: str, **keys: Any) -> dict[str, Any]:
    """A config of a dense or packed encoder with random weights."""
    return {"schema": 1, "encoder": (ENCODERS | PACKED)[name], **keys}


def reference(encoder: dict[str, Any], *, seed: int = 0) -> Any:
    """transformers' own full module, every parameter random (norms, scales and biases too), in eval mode."""
    family = FAMILIES[encoder["model_type"]]
    fields = {key: value for key, value in encoder.items() if key != "model_type"}
    module = import_module(family.module)
    if family.model_type == "molmo2_vision":  # its class takes no other form
        fields["image_size"] = [fields["image_size"]] * 2
    config = getattr(module, family.config_class)(**fields)
    torch.manual_seed(seed)
    return scramble(seeing_all(getattr(module, family.model_class)(config)), seed=seed)


def seeing_all(model: Any) -> Any:
    """The model, whose patches attend to all: Phi-4's hide later ones where there is no mask."""
    for part in model.modules():
        if getattr(part, "is_causal", False):
            part.is_causal = False
    return model


def scramble(model: Any, *, seed: int = 0) -> Any:
    """Move every parameter off its initial value, so that no zero or one can hide a missing one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 and parameter.numel() > 1 and parameter.std() > 0.5:
                # As transformers makes Phi-4's. Rounding errors would grow tenfold in every block.
                parameter.mul_(0.2)
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
        for name, buffer in model.named_buffers():
            if name.endswith(("_min", "_max")):  # bounds of a clamp, at infinity until they are learned
                buffer.copy_(torch.rand((), generator=generator) * (3 if name.endswith("_max") else -3))
            elif "std_" in name:
                buffer.add_(torch.randn(buffer.shape, generator=generator) * 0.5)
    return model.eval()


def with_weights_of(model: Any, tower: Any) -> Any:
    """``tower`` with the weights of transformers' model of the same encoder, which may have more."""
    assert tower.model.load_state_dict(model.state_dict(), strict=False).missing_keys == []
    return tower


def save(model: Any, folder: Path) -> Path:
    """Save with transformers and return the folder."""
    model.save_pretrained(folder)
    return folder


def pixels(
    encoder: dict[str, Any], *, images: int = 2, size: tuple[int, int] | None = None, seed: int = 1
) -> torch.Tensor:
    """Random pixel_values; ``size`` is (height, width), default the encoder's own."""
    height, width = size or (encoder["image_size"],) * 2
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(images, encoder.get("num_channels", 3), height, width, generator=generator)
    if encoder.get("model_type") == "molmo2_vision":
        side = encoder["patch_size"]
        patches = pixels.unfold(2, side, side).unfold(3, side, side)
        return patches.permute(0, 2, 3, 4, 5, 1).flatten(1, 2).flatten(2)
    return pixels


def hidden_states(model: Any, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """transformers' hidden states 0 to N, (images, tokens, width)."""
    if model.config.model_type == "radio":  # refuses what does not fill a patch; others leave it out
        patch = model.config.patch_size
        height, width = (side // patch * patch for side in pixel_values.shape[2:])
        pixel_values = pixel_values[:, :, :height, :width]
    before_norm: list[torch.Tensor] = []
    if model.config.model_type == "ovis2_vision":  # puts the normed state in the place of the last one
        norm = model.transformer.rms_norm
        hook = norm.register_forward_pre_hook(lambda module, inputs: before_norm.append(inputs[0]))
    with torch.no_grad():
        states = model(pixel_values=pixel_values, output_hidden_states=True).hidden_states
    if before_norm:
        hook.remove()
        states = (*states[:-1], *before_norm)
    return tuple(state.flatten(1, -2) for state in states)


def own_output(model: Any, pixel_values: torch.Tensor) -> torch.Tensor:
    """transformers' last_hidden_state as (images, tokens, width)."""
    with torch.no_grad():
        output = model(pixel_values=pixel_values).last_hidden_state
    return output.flatten(2).transpose(1, 2) if output.dim() == 4 else output


def merged(model: Any, state: torch.Tensor) -> torch.Tensor:
    """What transformers makes of the last hidden state, normed or not, to get its own output."""
    if hasattr(model, "vision_adapter"):
        return model.vision_adapter(state[:, :-1])
    if hasattr(model, "neck"):
        side = model.config.image_size // model.config.patch_size
        return model.neck(state.unflatten(1, (side, side))).flatten(2).transpose(1, 2)
    return state


def post_norm(model: Any) -> torch.nn.Module:
    """transformers' norm behind the last block."""
    family = next(f for f in FAMILIES.values() if f.model_class == type(model).__name__)
    return model.get_submodule(family.post_norm)


def takes_any_size(encoder: dict[str, Any]) -> bool:
    """Whether the family encodes images of other sizes at their own size."""
    config = encoder_config(encoder)
    return family_of(config).any_size(config)
