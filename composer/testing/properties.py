"""The properties that are checked in the same way for encoders of every kind."""

from __future__ import annotations

import torch
from safetensors import safe_open

from ..composing import compose
from ..errors import ConformanceError
from .subject import Subject, check_equal, named, run


def check_truncation(subject: Subject) -> None:
    """No block is built beyond the deepest selected, and fewer blocks change no features."""
    inputs = subject.batch()
    for k, state in enumerate(subject.states(inputs)):
        tower = subject.compose(select_layers=[k])
        if len(tower.blocks) != k:
            raise ConformanceError(f"{len(tower.blocks)} blocks are built for hidden state {k}")
        check_equal(run(tower, inputs), state, f"hidden state {k} of a tower cut to {k} blocks")


def check_gradients(subject: Subject) -> None:
    """Every parameter gets one."""
    for keys in [*subject.layers(), *subject.outputs()]:
        tower = subject.compose(**keys).train()
        features = torch.cat([part.flatten() for part in tower(**subject.batch())])
        if features.requires_grad:  # if they do not, no parameter gets one
            torch.autograd.backward(features.square().sum())
        for name, parameter in tower.named_parameters():
            if parameter.grad is None:
                raise ConformanceError(f"{name} gets none in a tower with {named(keys)}")
            if not parameter.grad.isfinite().all():
                raise ConformanceError(f"{name} gets one that is not finite in a tower with {named(keys)}")


def check_independence(subject: Subject) -> None:
    """An image's features do not depend on the others of its batch, nor on where it stands there."""
    image, other = subject.images[:2]
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
    """The plan's tensors are the module's, under the names that it saves."""
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
                f"{numbers[0]} parameters are planned for a tower with {named(keys)} of {numbers[1]}"
            )


def check_saving(subject: Subject) -> None:
    """A saved tower composed again is the same."""
    inputs = subject.batch()
    for keys in [*subject.layers()[-2:], *subject.outputs()]:
        tower = subject.compose(**keys)
        again = compose(subject.save(**keys), device="cpu")
        what = f"of a tower with {named(keys)}, saved and composed again"
        if again.config.encoder != subject.encoder:
            raise ConformanceError(f"the encoder block {what}, is {again.config.encoder!r}")
        ours, theirs = tower.state_dict(), again.state_dict()
        for name in sorted(ours.keys() | theirs.keys()):
            if name not in ours or name not in theirs or not torch.equal(ours[name], theirs[name]):
                raise ConformanceError(f"{name} is not the same in the state_dict {what}")
        check_equal(run(again, inputs), run(tower, inputs), f"the features {what}")
