"""What a small encoder of transformers shows when it is built, saved and run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..weights.quiet import quiet_transformers
from .classes import Classes
from .tracing import Trace

SMALL = {
    "hidden_size": 96,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 42,
    "patch_size": 7,
}
"""The sizes of the encoder that is run."""
OTHER = SMALL | {
    "hidden_size": 64,
    "intermediate_size": 88,
    "num_attention_heads": 2,
    "image_size": 40,
    "patch_size": 5,
    "num_channels": 2,
}
"""Sizes that tell which of them a tensor's shape is made of."""


@dataclass(frozen=True)
class Observed:
    """What is known of an encoder after it ran.

    Attributes:
        blocks: Path of the list of blocks.
        stem: Python that computes hidden state 0 of ``model`` and ``pixel_values``; None if it is not known.
        block_inputs: Python of each argument of a block, and None for one that is not known.
        seen: What block 0 was called with, in words.
        num_prefix_tokens: Tokens in front of the patches; None if the tokens cannot be patches and those.
        any_size: Whether images of other sizes run, too.
        post_norm: Path of the norm behind the last block; empty if there is none.
        norms_last_hidden_state: Whether last_hidden_state is normed by it.
        head: Path of the pooling head, whose output is pooler_output; empty if there is none.
        unused: Modules and parameters that none of these outputs depends on.
    """

    blocks: str
    stem: str | None
    block_inputs: Mapping[str, str | None]
    seen: str
    num_prefix_tokens: int | None
    any_size: bool
    post_norm: str
    norms_last_hidden_state: bool
    head: str
    unused: Sequence[str] = field(default=())


def built(classes: Classes, fields: Mapping[str, Any]) -> Any:
    """Build an encoder on the CPU, every weight moved off its initial value.

    Raises:
        InputError: If transformers cannot.
    """
    known = {key: value for key, value in fields.items() if hasattr(classes.config, key)}
    try:
        with quiet_transformers(), torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            config = classes.config(**known)
            model = classes.model._from_config(config, attn_implementation="eager").eval()
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05).requires_grad_()
    except Exception as error:  # values and code of any model
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"transformers cannot build a small {classes.model_type}: {reason}") from error
    return model


def saved_tensors(model: Any) -> dict[str, Tensor]:
    """Return the tensors of an encoder under the names that it is saved with."""
    from safetensors.torch import load_file

    tensors: dict[str, Tensor] = {}
    with TemporaryDirectory() as folder, quiet_transformers():
        model.save_pretrained(folder)
        for file in Path(folder).glob("*.safetensors"):
            tensors |= load_file(file)
    return tensors


def own_names(model: Any, saved: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the name in the encoder of each saved tensor, told by its values; as saved if they changed."""
    own = model.state_dict()
    names = {}
    for name, tensor in saved.items():
        same = (
            key for key, value in own.items() if value.shape == tensor.shape and torch.equal(value, tensor)
        )
        names[name] = name if name in own else next(same, name)
    return names


def observe(model: Any) -> Observed:
    """Run a small encoder and see what happens between its modules.

    Raises:
        InputError: If it cannot be run, or nothing tells which modules are its blocks.
    """
    blocks = _blocks(model)
    pixels = _pixels(model)
    trace = _traced(model, blocks, pixels)
    prefix = _prefix(trace.states[0], pixels, SMALL["patch_size"])
    norm = trace.post_norm()
    normed = model.get_submodule(norm)(trace.states[-1]) if norm else None
    last = getattr(trace.output, "last_hidden_state", None)
    head = trace.head()
    read = [*trace.states, *([normed] if normed is not None else [])]
    read += [trace.output.pooler_output] if head else []
    return Observed(
        blocks=blocks,
        stem=trace.stem(),
        block_inputs=trace.block_inputs(),
        seen=trace.seen(),
        num_prefix_tokens=prefix,
        any_size=prefix is not None and _takes_any_size(model, blocks, prefix),
        post_norm=norm,
        norms_last_hidden_state=_same(last, normed),
        head=head,
        unused=_unused(model, read),
    )


def prefix_of(model: Any) -> int | None:
    """Count the tokens in front of the patches in hidden state 0; None if that cannot be counted.

    Raises:
        InputError: If the encoder cannot be run.
    """
    pixels = _pixels(model)
    return _prefix(_traced(model, _blocks(model), pixels).states[0], pixels, SMALL["patch_size"])


def _pixels(model: Any) -> Tensor:
    side = SMALL["image_size"]
    return torch.randn(2, channels_of(model), side, side)


def channels_of(model: Any) -> int:
    """Return how many colour channels an encoder takes."""
    channels: int = getattr(model.config, "num_channels", 3)
    return channels


def _traced(model: Any, blocks: str, pixels: Tensor) -> Trace:
    try:
        return Trace.of(model, blocks, pixels)
    except Exception as error:  # code of any model
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{type(model).__name__} cannot be run on pixel_values alone: {reason}") from error


def _blocks(model: nn.Module) -> str:
    """Return the path of the longest list of as many modules as the encoder is deep."""
    depth = SMALL["num_hidden_layers"]
    found: dict[str, int] = {
        path: sum(parameter.numel() for parameter in part.parameters())
        for path, part in model.named_modules()
        if isinstance(part, nn.ModuleList) and len(part) == depth
    }
    if not found:
        raise InputError(f"{type(model).__name__} has no list of as many modules as num_hidden_layers says")
    return max(found, key=lambda path: found[path])


def _prefix(state: Tensor, pixels: Tensor, patch: int) -> int | None:
    patches = (pixels.shape[-2] // patch) * (pixels.shape[-1] // patch)
    if state.dim() != 3 or len(state) != len(pixels) or state.shape[1] < patches:
        return None
    return state.shape[1] - patches


def _takes_any_size(model: Any, blocks: str, prefix: int) -> bool:
    side = SMALL["patch_size"]
    for height, width in ((side, side), (2 * side, 3 * side), (5 * side - 1, 2 * side + 1)):
        pixels = torch.randn(1, channels_of(model), height, width)
        try:
            trace = Trace.of(model, blocks, pixels)
        except Exception:  # code of any model, which refuses other sizes in its own way
            return False
        if _prefix(trace.states[0], pixels, side) != prefix:
            return False
    return True


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and one.shape == other.shape and torch.equal(one, other)


def _unused(model: nn.Module, read: Sequence[Tensor]) -> list[str]:
    """Return the modules, and the parameters of other modules, that no value in ``read`` depends on."""
    named = dict(model.named_parameters())
    total = torch.stack([(state * torch.randn_like(state)).sum() for state in read]).sum()
    gradients = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    unused = {name for name, gradient in zip(named, gradients, strict=True) if gradient is None}
    return _joined(unused, lambda path: all(name in unused for name in named if name.startswith(f"{path}.")))


def _joined(names: set[str], whole: Callable[[str], bool]) -> list[str]:
    """Return ``names`` with those of whole modules joined to the module's."""
    joined = []
    for name in names:
        parts = name.split(".")
        paths = (".".join(parts[:end]) for end in range(1, len(parts)))
        joined.append(next((path for path in paths if whole(path)), name))
    return sorted(set(joined))
