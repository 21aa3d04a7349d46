"""The check of encoders that take images of any size as one sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..encoders.layout import Grid
from ..encoders.packed import PackedFamily
from ..errors import ConformanceError
from ..schemas import EncoderConfig
from .properties import (
    check_gradients,
    check_independence,
    check_planned_tensors,
    check_saving,
    check_truncation,
)
from .subject import Checks, Subject, check_equal, named, run

_SIZES = ((64, 64), (40, 100), (90, 30))
"""Widths and heights of the pictures; what the encoder sees of them is for its image processor to say."""

_PATCHES = 60
"""Most patches of an image that are changed one by one."""


class PackedSubject(Subject):
    """A packed encoder, and pictures as its image processor hands them over.

    Attributes:
        images: The inputs of each picture alone, and those of a clip where the grids have frames.
        sizes: Width, height and frames of each.
    """

    family: PackedFamily

    def __init__(self, encoder: EncoderConfig, family: PackedFamily, folder: Path) -> None:
        super().__init__(encoder, family, folder)
        self.images = [self.picture(*size) for size in _SIZES]
        self.sizes = [(*size, 1) for size in _SIZES]
        if any("grid_thw" in name for name in self.images[0]):
            self.images.append(self._clip(*_SIZES[1]))
            self.sizes.append((*_SIZES[1], 2 * self.compose().info.temporal_patch_size))

    def outputs(self) -> list[dict[str, Any]]:
        outputs: list[dict[str, Any]] = [{}]
        if self.encoder.has_post_norm:
            outputs.append({"select_layers": [self.depth], "post_norm": "last"})
        if self.encoder.deepstack:
            outputs.append({"deepstack": "none"})
        return outputs + ([{"head": True}] if self.encoder.has_head else [])

    def _clip(self, width: int, height: int) -> dict[str, Tensor]:
        """A clip of two grids' height in time: the patches of two pictures."""
        clip = self.collate([self.picture(width, height), self.picture(width, height)])
        grid = next(name for name in clip if "grid_thw" in name)
        return clip | {grid: clip[grid][:1] * torch.tensor([2, 1, 1])}

    def tokens_of(self, model: Any, inputs: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
        """What brings hidden states of one image, of any layout, into (tokens, width) in input order."""
        pixels, grids = self.family.read(self.compose().info, inputs)
        layout = self.family.layout(model, grids, torch.device("cpu"), torch.float32)
        shape = self.family.embed(model, pixels, layout).shape
        count = prod(grids[0])
        # What transformers pads stands behind.
        return lambda state: self.family.reference_tokens(
            model, state.flatten(0, -2)[:count].view(shape), layout
        )


def check_hidden_states(subject: PackedSubject) -> None:
    """Each is transformers' own, run on every image alone, as are the encoder's own and the pooled output."""
    inputs = subject.batch()
    ours = [
        (f"hidden state {k}, of {subject.depth}", state) for k, state in enumerate(subject.states(inputs))
    ]
    for keys, what in (
        ({"select_layers": [subject.depth], "post_norm": "last"}, "the normed last hidden state"),
        ({}, "the encoder's own output"),
        ({"head": True}, "the head's output"),
    ):
        if keys in subject.outputs():
            ours.append((what, run(subject.compose(**keys), inputs)))
    for i, image in enumerate(subject.images):
        theirs = _reference(subject, image)
        for (what, got), want in zip(ours, theirs, strict=True):
            check_equal([got[i]], [want], f"{what}, of image {i} of {len(subject.images)}")


def _reference(subject: PackedSubject, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """What transformers' class makes of one image: hidden states 0 to N, the normed last one if there is a
    norm, its output, and the head's if there is a head.

    The states are taken at the blocks, since some classes return them normed or pooled.
    """
    model, encoder = subject.reference, subject.encoder
    blocks = subject.family.block_list(model)
    states: list[Tensor] = []

    def keep_input(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states.append(args[0] if args else kwargs["hidden_states"])

    def keep_output(module: Any, args: Any, output: Any) -> None:
        states.append(output[0] if isinstance(output, tuple) else output)

    handles = [blocks[0].register_forward_pre_hook(keep_input, with_kwargs=True)]
    handles += [block.register_forward_hook(keep_output) for block in blocks]
    try:
        with torch.no_grad():
            output = model(**subject.family.reference_inputs(inputs))
            tokens = subject.tokens_of(model, inputs)
            results = [tokens(state) for state in states]
            if encoder.has_post_norm:
                results.append(model.get_submodule(subject.family.post_norm)(results[-1]))
    finally:
        for handle in handles:
            handle.remove()
    results.append(_own_output(output, encoder.merger, len(results[0])))
    return results + ([output.pooler_output] if encoder.has_head else [])


def _own_output(output: Any, merger: bool, num_tokens: int) -> Tensor:
    """The output of transformers' class for one image: (tokens, width), DeepStack levels behind the rest."""
    merged = getattr(output, "pooler_output", None) if merger else None
    if merged is not None:
        merged = merged.flatten(1)  # patches side by side
        return torch.cat([merged, *(getattr(output, "deepstack_features", None) or ())], dim=-1)
    last: Tensor = output.last_hidden_state.flatten(0, -2)
    return last if merger else last[:num_tokens]  # what it pads stands behind


def check_order(subject: PackedSubject) -> None:
    """Token i of hidden state 0 is made of patch i of the input, and of no other."""
    model, family, info = subject.reference, subject.family, subject.compose().info
    for number, inputs in enumerate(subject.images):
        pixels, grids = family.read(info, inputs)
        layout = family.layout(model, grids, torch.device("cpu"), torch.float32)
        with torch.no_grad():
            before = family.tokens(family.embed(model, pixels, layout), layout)
            for i in range(0, len(before), 1 + len(before) // _PATCHES):
                after = family.tokens(
                    family.embed(model, _moved(pixels, i, grids[0], info.patch_size), layout), layout
                )
                changed = (after != before).any(dim=-1).nonzero().flatten().tolist()
                if changed != [i]:
                    raise ConformanceError(
                        f"pixels of patch {i} of image {number} change tokens {changed} of hidden state 0"
                    )


def _moved(pixels: Tensor, patch: int, grid: Grid, side: int) -> Tensor:
    """The pixels of one image with another value in one patch."""
    moved = pixels.clone()
    if len(pixels) == prod(grid):
        moved[patch] += 1
    else:
        row, column = (side * index for index in divmod(patch, grid[2]))
        moved[0, :, row : row + side, column : column + side] += 1
    return moved


def check_tokens(subject: PackedSubject) -> None:
    """As many come out as planned, for every picture and clip."""
    for keys in ({"select_layers": [0]}, *subject.outputs()):
        tower = subject.compose(**keys)
        for features, (width, height, frames) in zip(run(tower, subject.batch()), subject.sizes, strict=True):
            got, planned = len(features), tower.plan.num_tokens(width, height, frames)
            if got != planned:
                what = "a picture" if frames == 1 else f"a clip of {frames} frames"
                raise ConformanceError(
                    f"{what} of {width}x{height} pixels gives {got} tokens in a tower with {named(keys)}, "
                    f"and {planned} are planned"
                )


CHECKS: Checks = (
    PackedSubject,
    {
        "hidden states": check_hidden_states,
        "order": check_order,
        "tokens": check_tokens,
        "truncation": check_truncation,
        "gradients": check_gradients,
        "independence": check_independence,
        "planned tensors": check_planned_tensors,
        "saving": check_saving,
    },
)
