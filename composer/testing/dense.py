"""The check of encoders that take images of one size, (images, channels, height, width)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..encoders import EncoderFamily
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


class DenseSubject(Subject):
    """A dense encoder and random pixels for it."""

    def __init__(self, encoder: EncoderConfig, family: EncoderFamily, folder: Path) -> None:
        super().__init__(encoder, family, folder)
        self.images = [self.pixels(encoder.image_size, encoder.image_size) for _ in range(2)]

    def outputs(self) -> list[dict[str, Any]]:
        normed = self.encoder.has_post_norm and not self.family.norms_last_hidden_state
        norms: list[dict[str, Any]] = [{"post_norm": "last"}] if normed else []
        return [*norms, {}, *([{"head": True}] if self.encoder.has_head else [])]

    def collate(self, images: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {"pixel_values": torch.cat([image["pixel_values"] for image in images])}

    def pixels(self, width: int, height: int) -> dict[str, Tensor]:
        """An image of random values."""
        return {"pixel_values": torch.randn(1, self.encoder.num_channels, height, width)}


def check_hidden_states(subject: DenseSubject) -> None:
    """Each is transformers' own, as are last_hidden_state and the pooled output."""
    inputs = subject.batch()
    theirs, output = _reference_states(subject, inputs)
    for k, (got, want) in enumerate(zip(subject.states(inputs), theirs, strict=True)):
        check_equal(got, list(want), f"hidden state {k}, of {subject.depth}")
    last = output.last_hidden_state
    if last.dim() == 4:  # (images, channels, rows, columns)
        last = last.flatten(2).transpose(1, 2)
    check_equal(run(subject.compose(), inputs), list(last), "last_hidden_state")
    if subject.encoder.has_head:
        pooled = run(subject.compose(head=True), inputs)
        check_equal(pooled, list(output.pooler_output[:, None]), "the head's output")


def _reference_states(subject: DenseSubject, inputs: dict[str, Tensor]) -> tuple[list[Tensor], Any]:
    """transformers' hidden states 0 to N, and its output.

    The last is taken from the last block, since some classes return it normed and some do not.
    """
    last: list[Tensor] = []

    def keep(module: Any, inputs: Any, output: Any) -> None:
        last.append(output[0] if isinstance(output, tuple) else output)

    handle = subject.family.block_list(subject.reference)[-1].register_forward_hook(keep)
    try:
        with torch.no_grad():
            output = subject.reference(**inputs, output_hidden_states=True)
    finally:
        handle.remove()
    states = output.hidden_states
    if len(states) != subject.depth + 1:
        raise ConformanceError(
            f"transformers' class returns {len(states)} hidden states for num_hidden_layers {subject.depth}"
        )
    return [subject.family.as_tokens(state) for state in (*states[:-1], last[-1])], output


def check_tokens(subject: DenseSubject) -> None:
    """As many come out as planned."""
    tower = subject.compose(select_layers=[0])
    patches = subject.compose(select_layers=[0], feature_select_strategy="default")
    side, patch = subject.encoder.image_size, subject.encoder.patch_size
    sizes = [(side, side)]
    if tower.info.any_size:
        sizes += [(patch, patch), (3 * patch, 2 * patch), (2 * patch + 1, 5 * patch - 1)]
    for size in sizes:
        inputs = subject.pixels(*size)
        for made, what in ((tower, "tokens"), (patches, "tokens without the prefix tokens")):
            got, planned = len(run(made, inputs)[0]), made.plan.num_tokens(*size)
            if got != planned:
                where = f"an image of {size[0]}x{size[1]} pixels"
                raise ConformanceError(f"{where} gives {got} {what}, and {planned} are planned")


CHECKS: Checks = (
    DenseSubject,
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
