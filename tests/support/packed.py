"""Batches for the packed families, and what transformers makes of them, packed or padded."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.vision_utils import get_vision_window_index

from support import padded, tiny
from vision_composer.encoders import FAMILIES, get_vision_encoder_info
from vision_composer.schemas import encoder_config

ENCODERS = tiny.PACKED | tiny.PADDED
DEPTH = 4
Grids = list[tuple[int, int, int]]
"""Frames, rows and columns of each image, in merged tokens."""
GRIDS: list[Grids] = [
    [(1, 1, 1)],
    [(1, 2, 3), (1, 5, 7), (1, 1, 4), (1, 2, 3)],
    [(3, 2, 2), (1, 7, 1), (4, 1, 5)],
    [(1, 1, k) for k in range(1, 9)],
]
"""One token, sizes that windows do not divide, clips, one row of each length."""

_ONE_FRAME = (
    "gemma4",
    "hunyuan",
    "hy_v4",
    "idefics",
    "inkling2",
    "pixtral",
    "siglip2",
    "smolvlm",
    "video_llama",
)
_UNMERGED = (
    *("cosmos3_edge", "ernie4_5", "hunyuan", "hy_v4", "lfm3", "minimax", "paddleocr", "pixtral"),
    "video_llama",
)
"""Families whose tokens the VLM merges, so that the tower's own output is one of patches."""


@cache
def reference(name: str) -> Any:
    """transformers' model of a tiny encoder; the tests only read it."""
    return tiny.reference(ENCODERS[name])


@cache
def exact_reference(name: str) -> Any:
    """The same in float64."""
    return copy.deepcopy(reference(name)).double()


def batch_of(name: str, grids: Grids, *, seed: int = 1) -> dict[str, Tensor]:
    """A random batch as the family's image processor returns it.

    A family that knows no clips gets the first frame of each.
    """
    if name in tiny.PADDED:
        return padded.batch_of(name, [(h, w) for _, h, w in grids], seed=seed)
    encoder = encoder_config(ENCODERS[name])
    family = FAMILIES[encoder.model_type]
    info = get_vision_encoder_info(encoder)
    generator = torch.Generator().manual_seed(seed)
    m = info.grid_multiple
    if name.startswith("pixtral"):
        sizes = torch.tensor([(h, w) for _, h, w in grids], dtype=torch.int64).view(-1, 2) * info.patch_size
        height, width = sizes.amax(0).tolist() if grids else (info.patch_size, info.patch_size)
        pixels = torch.randn(len(sizes), 3, height, width, generator=generator)
        return {"pixel_values": pixels, "image_sizes": sizes}
    if name.startswith("inkling2"):  # takes squares, and grids of them
        boxes = [(1, h, w) for _, h, w in grids]
        side, count = info.patch_size * m, sum(h * w for _, h, w in grids)
        squares = torch.randn(count, side, side, 3, generator=generator)
        return {"pixel_values": squares, "image_grid_thw": torch.tensor(boxes, dtype=torch.int64).view(-1, 3)}
    boxes = [(t if has_frames(name) else 1, h * m, w * m) for t, h, w in grids]
    thw = torch.tensor(boxes, dtype=torch.int64).view(-1, 3)
    patch = family.patch_shape(info)  # type: ignore[attr-defined]  # these have rows of patches
    return {
        "pixel_values": torch.randn(int(thw.prod(1).sum()), *patch, generator=generator),
        "image_grid_thw": thw,
    }


def has_frames(name: str) -> bool:
    """Whether the family takes clips."""
    return not name.startswith(_ONE_FRAME)


def tokens_of(name: str, grids: Grids, *, merged: bool) -> list[int]:
    """How many tokens each image of a batch has, in a hidden state or in the tower's own output."""
    info = get_vision_encoder_info(encoder_config(ENCODERS[name]))
    square = 1 if merged and not name.startswith(_UNMERGED) else info.grid_multiple**2
    pools_frames = merged and name.startswith("kimi")
    return [(t if has_frames(name) and not pools_frames else 1) * h * w * square for t, h, w in grids]


def _rows(batch: dict[str, Tensor], image: int) -> slice:
    """Where the patches of an image are."""
    ends = [0, *batch["image_grid_thw"].prod(1).cumsum(0).tolist()]
    return slice(ends[image], ends[image + 1])


def alone(name: str, batch: dict[str, Tensor], image: int) -> dict[str, Tensor]:
    """One image of a batch."""
    if name in tiny.PADDED:
        axis = padded.image_axis(name)
        return {key: value.narrow(axis, image, 1) for key, value in batch.items()}
    pixels = batch["pixel_values"]
    if name.startswith("pixtral"):
        height, width = batch["image_sizes"][image].tolist()
        return {"pixel_values": pixels[image : image + 1, :, :height, :width]}
    grid = batch["image_grid_thw"][image : image + 1]
    return {"pixel_values": pixels[_rows(batch, image)], "image_grid_thw": grid}


def with_nan(name: str, batch: dict[str, Tensor], image: int) -> dict[str, Tensor]:
    """The batch with NaN for all pixels of an image, and in what padding there is."""
    pixels = batch["pixel_values"].clone()
    if name in tiny.PADDED:
        pixels.select(padded.image_axis(name), image)[:] = torch.nan
    elif name.startswith("pixtral"):
        pixels[image] = torch.nan
        for i, (height, width) in enumerate(batch["image_sizes"].tolist()):
            pixels[i, :, height:] = torch.nan
            pixels[i, :, :, width:] = torch.nan
    else:
        pixels[_rows(batch, image)] = torch.nan
    return batch | {"pixel_values": pixels}


class Theirs(NamedTuple):
    """What transformers makes of a batch, (tokens of all images, width) each, in the order of the input.

    Attributes:
        states: Hidden states 0 to N, un-normed.
        output: The tower's own output, with DeepStack levels behind it on the feature axis.
    """

    states: list[Tensor]
    output: Tensor

    def of(self, layers: list[int] | None) -> Tensor:
        """The output, or some hidden states side by side."""
        return self.output if layers is None else torch.cat([self.states[k] for k in layers], dim=-1)


def theirs(name: str, batch: dict[str, Tensor], *, exact: bool = False) -> Theirs:
    """What transformers makes of a batch, in float32 or in float64."""
    if name in tiny.PADDED:
        unpadded = padded.Theirs.exact(name, batch) if exact else padded.Theirs(name, batch)
        return Theirs([torch.cat(state) for state in unpadded.states], torch.cat(unpadded.last))
    model = exact_reference(name) if exact else reference(name)
    block = FAMILIES[model.config.model_type].block_list(model)[-1]
    last: list[Tensor] = []  # some classes put their normed or merged output in its place
    hook = block.register_forward_hook(lambda module, args, output: last.append(output))
    output = raw(name, batch, model)
    hook.remove()
    states = [state.view(-1, state.shape[-1]) for state in (*output.hidden_states[:-1], last[0])]
    if name.startswith("inkling2"):
        states = _without_class_tokens(states, batch["image_grid_thw"], model.config.spatial_merge_size**2)
    if name.startswith(("exaone", "muse", "qwen2_5")):
        states = _in_order_of_patches(states, batch["image_grid_thw"], model)
    return Theirs(states, own_output(name, output))


def raw(name: str, batch: dict[str, Tensor], model: Any) -> Any:
    """The output object of transformers' model, for the families that it runs packed."""
    pixels = batch["pixel_values"].to(model.dtype)
    with torch.no_grad():
        if name.startswith("pixtral"):
            return model(pixels, image_sizes=batch["image_sizes"], output_hidden_states=True)
        grids = batch["image_grid_thw"]
        if name.startswith("glm"):  # takes a clip as its frames
            grids = torch.tensor([(1, h, w) for t, h, w in grids.tolist() for _ in range(t)])
        if name.startswith("paddleocr"):
            pixels = pixels[None]
        if name.startswith("inkling2"):
            return model(pixels, image_grid_thw=grids, output_hidden_states=True)
        sizes = {"merge_sizes": torch.ones(len(grids), dtype=torch.int64)}
        more = sizes if name.startswith("video_llama") else {}
        return model(pixels, grid_thw=grids, output_hidden_states=True, **more)


def _without_class_tokens(states: list[Tensor], grids: Tensor, square: int) -> list[Tensor]:
    lengths = (grids.prod(1) * square).tolist()
    parts = [torch.split(state, [1 + length for length in lengths]) for state in states]
    return [torch.cat([part[1:] for part in of_images]) for of_images in parts]


def _in_order_of_patches(states: list[Tensor], grids: Tensor, model: Any) -> list[Tensor]:
    merge = model.spatial_merge_size
    index, _ = get_vision_window_index(grids, merge, model.window_size, model.patch_size)
    inverse = torch.argsort(index)
    return [s.view(-1, merge**2, s.shape[-1])[inverse].view(s.shape) for s in states]


def own_output(name: str, output: Any) -> Tensor:
    """The tower's own output in what :func:`raw` returns, (tokens of all images, width)."""
    if name.startswith((*_UNMERGED, "muse")):
        last = output.last_hidden_state
        return last.view(-1, last.shape[-1])
    if name.startswith("kimi"):
        return output.pooler_output.flatten(1)
    return torch.cat([output.pooler_output, *(getattr(output, "deepstack_features", None) or ())], dim=-1)
