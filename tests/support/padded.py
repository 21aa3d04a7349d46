"""Batches for the families that transformers runs padded, and what transformers makes of them."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import torch

from support import tiny
from vision_composer.encoders import FAMILIES, get_vision_encoder_info
from vision_composer.schemas import encoder_config

DEPTH = 4
Shapes = list[tuple[int, int]]
Batch = dict[str, torch.Tensor]
"""Rows and columns of each image, in merged tokens."""
SHAPES: list[Shapes] = [
    [(1, 1)],
    [(2, 3), (5, 7), (1, 4), (2, 3)],
    [(7, 1), (1, 9), (6, 6)],
    [(1, k) for k in range(1, 9)],
]


@cache
def reference(name: str) -> Any:
    """transformers' model of a tiny encoder; the tests only read it."""
    return tiny.reference(tiny.PADDED[name])


@cache
def exact_reference(name: str) -> Any:
    """The same in float64."""
    return copy.deepcopy(reference(name)).double()


def image_axis(name: str) -> int:
    """The axis of images in a batch; that of samples stands before it if there is one."""
    return 1 if name.startswith(("idefics", "smolvlm")) else 0


def has_post_norm(name: str) -> bool:
    return encoder_config(tiny.PADDED[name]).has_post_norm


def batch_of(name: str, shapes: Shapes, *, seed: int = 1, padding: float = torch.nan) -> Batch:
    """A random batch as the family's image processor returns it, with whatever in the padding."""
    info = get_vision_encoder_info(encoder_config(tiny.PADDED[name]))
    generator = torch.Generator().manual_seed(seed)
    side, merge = info.patch_size, info.merge_size
    if name.startswith(("idefics", "smolvlm")):
        rows, columns = (max(sizes) for sizes in zip(*shapes, strict=True))
        height, width = (rows + 1) * side + 1, (columns + 1) * side
        pixels = torch.randn(1, len(shapes), 3, height, width, generator=generator)
        mask = torch.zeros(1, len(shapes), height, width, dtype=torch.int64)
        # Idefics2 leaves out a patch that is not whole, the others keep it.
        more, less = (side - 1, 0) if name.startswith("idefics2") else (0, side - 1)
        for i, (h, w) in enumerate(shapes):
            mask[0, i, : h * side + more - less, : w * side + more - less] = 1
            pixels[0, i, :, h * side :] = padding
            pixels[0, i, :, :, w * side :] = padding
        return {"pixel_values": pixels, "pixel_attention_mask": mask}
    sizes = torch.tensor([(h * merge, w * merge) for h, w in shapes])
    counts = sizes.prod(1)
    length = int(counts.max()) + merge**2 * 3
    filled = torch.arange(length) < counts[:, None]
    pixels = torch.rand(len(shapes), length, 3 * side**2, generator=generator)
    pixels[~filled] = padding
    if name.startswith("siglip2"):
        return {"pixel_values": pixels, "pixel_attention_mask": filled.int(), "spatial_shapes": sizes}
    places = torch.arange(length)[:, None]
    width = sizes[:, 1][:, None, None]
    ids = torch.cat([places % width, places // width], dim=-1)
    ids[~filled] = -1
    tokens = counts // merge**2
    return {"pixel_values": pixels, "image_position_ids": ids, "num_soft_tokens_per_image": tokens}


class Theirs:
    """What transformers makes of a batch, padding taken out: a list of images in each.

    Attributes:
        states: Hidden states 0 to N, un-normed.
        last: last_hidden_state, which Gemma 4 pools.
        pooled: The pooling head's output; None without.
    """

    def __init__(self, name: str, batch: Batch, model: Any = None) -> None:
        model = model or reference(name)
        inputs = dict(batch, pixel_values=batch["pixel_values"].nan_to_num(0.3))
        inputs.pop("num_soft_tokens_per_image", None)
        if name.startswith(("idefics", "smolvlm")):
            inputs = {key: value.flatten(0, 1) for key, value in inputs.items()}
            inputs["patch_attention_mask"] = patch_mask(name, inputs.pop("pixel_attention_mask"))
            valid = inputs["patch_attention_mask"].flatten(1)
        elif name.startswith("siglip2"):
            valid = batch["pixel_attention_mask"].bool()
        else:
            inputs["pixel_position_ids"] = inputs.pop("image_position_ids")
            valid = (inputs["pixel_position_ids"] >= 0).all(-1)
        blocks = model.get_submodule(FAMILIES[model.config.model_type].blocks)
        outputs: list[torch.Tensor] = []
        hook = blocks[-1].register_forward_hook(lambda module, args, output: outputs.append(output))
        with torch.no_grad():
            output = model(**inputs, output_hidden_states=True)
        hook.remove()

        def unpad(state: torch.Tensor) -> list[torch.Tensor]:
            return [image[mask] for image, mask in zip(state, valid, strict=True)]

        self.states = [unpad(state) for state in (*output.hidden_states[:-1], outputs[0])]
        if name.startswith("gemma4"):
            square = model.config.pooling_kernel_size**2
            self.last = list(output.last_hidden_state.split((valid.sum(1) // square).tolist()))
        else:
            self.last = unpad(output.last_hidden_state)
        self.pooled = getattr(output, "pooler_output", None)

    @classmethod
    def exact(cls, name: str, batch: Batch) -> Theirs:
        """The same, computed in float64."""
        return cls(name, dict(batch, pixel_values=batch["pixel_values"].double()), exact_reference(name))


def patch_mask(name: str, pixel_mask: torch.Tensor) -> torch.Tensor:
    """The patches that Idefics2, Idefics3 and SmolVLM keep, as their models find them."""
    side = tiny.PADDED[name]["patch_size"]
    counts = pixel_mask.unfold(1, side, side).unfold(2, side, side).sum(dim=(-1, -2))
    return counts == side**2 if name.startswith("idefics2") else counts > 0
