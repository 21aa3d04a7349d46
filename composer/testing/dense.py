"""The check of encoders that take images of one size, (images, channels, height, width)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import ConformanceError
from .properties import check_gradients, check_planned_tensors, check_saving, check_truncation
from .subject import Checks, Subject, check_equal, run


class DenseSubject(Subject):
    """A dense encoder and random pixels for it."""

    def outputs(self) -> list[dict[str, Any]]:
        normed = self.encoder.has_post_norm and not self.family.norms_last_hidden_state
        norms: list[dict[str, Any]] = [{"post_norm": "last"}] if normed else []
        return [*norms, {}, *([{"head": True}] if self.encoder.has_head else [])]

    def batch(self) -> dict[str, Tensor]:
        return self.pixels(2)

    def pixels(self, images: int, *, size: tuple[int, int] | None = None) -> dict[str, Tensor]:
        """Random inputs; ``size`` is (width, height)."""
        width, height = size or (self.encoder.image_size, self.encoder.image_size)
        return {"pixel_values": torch.randn(images, self.encoder.num_channels, height, width)}


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
        inputs = subject.pixels(1, size=size)
        for made, what in ((tower, "tokens"), (patches, "tokens without the prefix tokens")):
            got, planned = len(run(made, inputs)[0]), made.plan.num_tokens(*size)
            if got != planned:
                where = f"an image of {size[0]}x{size[1]} pixels"
                raise ConformanceError(f"{where} gives {got} {what}, and {planned} are planned")


def check_independence(subject: DenseSubject) -> None:
    """An image's features do not depend on the others of its batch."""
    image, other = (subject.pixels(1)["pixel_values"] for _ in range(2))
    for keys in [subject.layers()[-1], *subject.outputs()]:
        tower = subject.compose(**keys)
        alone = run(tower, {"pixel_values": image})
        for mate, what in ((other, "another image"), (torch.full_like(other, torch.nan), "an image of NaN")):
            for batch, position in (([image, mate], 0), ([mate, image], 1)):
                got = run(tower, {"pixel_values": torch.cat(batch)})[position]
                check_equal([got], alone, f"the features of an image beside {what}")


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
