"""The check of encoders that see a picture as tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..encoders.mllama import Mllama
from ..errors import ConformanceError
from ..schemas import EncoderConfig
from .properties import (
    check_gradients,
    check_independence,
    check_planned_tensors,
    check_saving,
    check_truncation,
)
from .subject import Checks, Subject, check_equal, run


class TiledSubject(Subject):
    """A tiled encoder, and pictures as its image processor hands them over.

    Attributes:
        sizes: Width and height of each picture.
        images: The inputs of each alone.
    """

    family: Mllama

    def __init__(self, encoder: EncoderConfig, family: Mllama, folder: Path) -> None:
        super().__init__(encoder, family, folder)
        side = encoder.image_size
        self.sizes = [(side, side), (side + 1, side), (side, 3 * side), (4 * side, side)]
        self.images = [self.picture(*size) for size in self.sizes]

    def outputs(self) -> list[dict[str, Any]]:
        return [{"select_layers": [self.depth], "post_norm": "last"}, {}]

    def apart(self, states: Tensor, inputs: dict[str, Tensor]) -> list[Tensor]:
        """A state of transformers' (images, tiles, tokens, width) -> the tokens of each picture's tiles."""
        valid = inputs["aspect_ratio_mask"].flatten(0, 1).bool()
        return [image[mask].flatten(0, 1) for image, mask in zip(states, valid, strict=True)]


def check_hidden_states(subject: TiledSubject) -> None:
    """Each is transformers' own, as is the encoder's own output."""
    inputs, reference = subject.batch(), subject.reference
    outputs: list[Tensor] = []
    blocks = subject.family.block_list(reference)
    handles = [
        block.register_forward_hook(lambda module, args, output: outputs.append(output)) for block in blocks
    ]
    try:
        with torch.no_grad():
            own = reference(**{k: v for k, v in inputs.items() if k != "num_tiles"}).last_hidden_state
    finally:
        for handle in handles:
            handle.remove()
    # Hidden state 0 comes out of no module; a wrong one changes all that follow.
    for k, (got, output) in enumerate(zip(subject.states(inputs)[1:], outputs, strict=True), start=1):
        want = subject.apart(subject.family.tokens(reference, output), inputs)
        check_equal(got, want, f"hidden state {k}, of {subject.depth}")
    check_equal(run(subject.compose(), inputs), subject.apart(own.flatten(0, 1), inputs), "last_hidden_state")


def check_tokens(subject: TiledSubject) -> None:
    """As many come out as planned."""
    for keys in ({"select_layers": [0]}, {"select_layers": [0], "feature_select_strategy": "default"}, {}):
        tower = subject.compose(**keys)
        for size, image in zip(subject.sizes, subject.images, strict=True):
            got, planned = len(run(tower, image)[0]), tower.plan.num_tokens(*size)
            if got != planned:
                where = f"an image of {size[0]}x{size[1]} pixels"
                raise ConformanceError(f"{where} gives {got} tokens, and {planned} are planned")


CHECKS: Checks = (
    TiledSubject,
    {
        "hidden states": check_hidden_states,
        "tokens": check_tokens,
        "truncation": check_truncation,
        "gradients": check_gradients,
        "independence": check_independence,
        "planned tensors": check_planned_tensors,
        "saving": check_saving,
    },
)
