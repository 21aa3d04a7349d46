"""The properties that ``check_encoder`` checks, one function each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from ..composing import compose_tower
from ..encoders.facts import Grid
from ..errors import ConformanceError
from .compare import check_equal
from .subject import Subject, named, run

_PATCHES = 60
"""How many patches of an image are changed one by one, at most."""


def check_hidden_states(subject: Subject) -> None:
    """Check that hidden states and outputs equal those of transformers' class, run on every image alone."""
    inputs = subject.batch()
    states = subject.states(inputs)
    outputs = {named(keys): run(subject.compose(**keys), inputs) for keys in subject.outputs()}
    for i, sample in enumerate(subject.samples):
        where = f"image {i} of {len(subject.samples)}"
        theirs, own = subject.reference_features(sample.inputs)
        for k, want in enumerate(theirs):
            check_equal([states[k][i]], [want], f"hidden state {k}, of {subject.depth}, of {where}")
        for name, want in own.items():
            check_equal([outputs[name][i]], [want], f"the output of a tower with {name}, of {where}")


def check_order(subject: Subject) -> None:
    """Check that token i of hidden state 0 is made of patch i of the input, and of no other patch."""
    encoder = subject.compose(select_layers=[0], feature_select_strategy="default")
    for number, sample in enumerate(subject.samples):
        batch = encoder.tower.read(sample.inputs)
        with torch.no_grad():
            before = encoder.tower(batch)[0]
            for i in range(0, len(before), 1 + len(before) // _PATCHES):
                moved = _moved(batch.pixels, i, batch.grids[0], encoder.info.patch_size)
                after = encoder.tower(replace(batch, pixels=moved))[0]  # type: ignore[type-var]  # every batch is a dataclass
                changed = (after != before).any(dim=-1).nonzero().flatten().tolist()
                if changed != [i]:
                    raise ConformanceError(
                        f"pixels of patch {i} of image {number} change tokens {changed} of hidden state 0"
                    )


def _moved(pixels: Tensor, patch: int, grid: Grid, side: int) -> Tensor:
    """Return the pixels of one image with other values in one patch."""
    moved = pixels.clone()
    if len(pixels) == prod(grid):  # one row per patch
        moved[patch] += 1
        return moved
    if pixels.dim() == 3:  # the patches of every image
        moved[0, patch] += 1
        return moved
    _, rows, columns = grid
    tile, place = divmod(patch, rows * columns)
    row, column = (side * index for index in divmod(place, columns))
    image = moved[0] if moved[0].dim() == 3 else moved[0][tile]
    image[:, row : row + side, column : column + side] += 1
    return moved


def check_tokens(subject: Subject) -> None:
    """Check that as many tokens come out as planned, for every image and clip."""
    everything: dict[str, Any] = {"select_layers": [0]}
    selections = [everything, everything | {"feature_select_strategy": "default"}]
    for keys in (*selections, *subject.outputs()):
        encoder = subject.compose(**keys)
        for sample in (*subject.samples, *subject.samples_alone()):
            width, height, frames = sample.size
            count = encoder.tokens_of if sample.resized else encoder.num_tokens
            got, planned = len(run(encoder, sample.inputs)[0]), count(*sample.size)
            if got != planned:
                what = "an image" if frames == 1 else f"a clip of {frames} frames"
                raise ConformanceError(
                    f"{what} of {width}x{height} pixels gives {got} tokens in a tower with {named(keys)}, "
                    f"but {planned} are planned"
                )


def check_truncation(subject: Subject) -> None:
    """Check that no block beyond the deepest selected one is built, and that features do not change by it."""
    inputs = subject.batch()
    for k, state in enumerate(subject.states(inputs)):
        tower = subject.compose(select_layers=[k])
        if len(tower.blocks) != k:
            raise ConformanceError(f"{len(tower.blocks)} blocks are built for hidden state {k}, not {k}")
        check_equal(run(tower, inputs), state, f"hidden state {k} of a tower cut to {k} blocks")


def check_gradients(subject: Subject) -> None:
    """Check that every parameter gets a gradient."""
    for keys in [*subject.layers(), *subject.outputs()]:
        tower = subject.compose(**keys).train()
        features = torch.cat([part.flatten() for part in tower(**subject.batch())])
        if features.requires_grad:  # otherwise no parameter gets a gradient, which is reported below
            torch.autograd.backward(features.square().sum())
        for name, parameter in tower.named_parameters():
            if parameter.grad is None:
                raise ConformanceError(f"{name} gets no gradient in a tower with {named(keys)}")
            if not parameter.grad.isfinite().all():
                raise ConformanceError(
                    f"{name} gets a gradient that is not finite in a tower with {named(keys)}"
                )


def check_independence(subject: Subject) -> None:
    """Check that an image's features depend neither on the rest of its batch nor on its place in it."""
    image, other = (sample.inputs for sample in subject.samples[:2])
    nan = {
        name: torch.full_like(value, torch.nan) if value.is_floating_point() else value
        for name, value in other.items()
    }
    for keys in [subject.layers()[-1], *subject.outputs()]:
        tower = subject.compose(**keys)
        alone = run(tower, image)
        for mate, what in ((other, "another image"), (nan, "an image of NaN")):
            for batch, position in (([image, mate], 0), ([mate, image], 1), ([mate, image, mate], 1)):
                got = run(tower, subject.collate(batch))[position]
                check_equal([got], alone, f"the features of an image beside {what}")


def check_planned_tensors(subject: Subject) -> None:
    """Check that the plan's tensors are the module's parameters, under the names that it saves."""
    for keys in [*subject.layers(), *subject.outputs()]:
        tower = subject.compose(**keys)
        planned = tower.plan.shapes or {}
        with safe_open(subject.save(**keys) / "model.safetensors", framework="pt") as file:
            saved = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        for name in sorted(planned.keys() | saved.keys()):
            if planned.get(name) != saved.get(name):
                raise ConformanceError(
                    f"{name} is planned as {planned.get(name, 'nothing')} and saved as "
                    f"{saved.get(name, 'nothing')} by a tower with {named(keys)}"
                )
        numbers = (tower.plan.num_parameters, sum(parameter.numel() for parameter in tower.parameters()))
        if numbers[0] != numbers[1]:
            raise ConformanceError(
                f"{numbers[0]} parameters are planned for a tower with {named(keys)}, which has {numbers[1]}"
            )


def check_saving(subject: Subject) -> None:
    """Check that a tower that is saved and composed again is the same."""
    inputs = subject.batch()
    for keys in [*subject.layers()[-2:], *subject.outputs()]:
        tower = subject.compose(**keys)
        again = compose_tower(subject.save(**keys), device=subject.device)
        what = f"of a tower with {named(keys)}, saved and composed again"
        if again.config.encoder != subject.encoder:
            raise ConformanceError(f"the encoder block {what}, is {again.config.encoder!r}")
        ours, theirs = tower.state_dict(), again.state_dict()
        for name in sorted(ours.keys() | theirs.keys()):
            if name not in ours or name not in theirs or not torch.equal(ours[name], theirs[name]):
                raise ConformanceError(f"{name} is not the same in the state_dict {what}")
        check_equal(run(again, inputs), run(tower, inputs), f"the features {what}")


CHECKS: dict[str, Callable[[Subject], None]] = {
    "hidden states": check_hidden_states,
    "order": check_order,
    "tokens": check_tokens,
    "truncation": check_truncation,
    "gradients": check_gradients,
    "independence": check_independence,
    "planned tensors": check_planned_tensors,
    "saving": check_saving,
}
"""The properties by name, in the order in which they are checked."""
