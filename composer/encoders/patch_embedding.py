"""Embed patches that are rows of pixels, and read position tables, by way of their modules' own forward."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


def embed_patches(convolution: nn.Module, patches: Tensor) -> Tensor:
    """Embed patches that do not overlap, (patches, width).

    Args:
        convolution: The Conv2d or Conv3d that cuts an image or a clip into patches, or what has taken its
            place, such as an adapter around it. It must have the convolution's ``weight``.
        patches: (patches, ...): the channels, frames, rows and columns of each patch.
    """
    from torch import nn
    from torch.nn.functional import linear

    weight: Tensor = convolution.weight  # type: ignore[assignment]  # modules are typed loosely
    if _is_plain(convolution, nn.Conv2d, nn.Conv3d):
        # Patches do not overlap, so the convolution is one linear projection per patch.
        bias: Tensor | None = convolution.bias  # type: ignore[assignment]  # as above
        return linear(patches.flatten(1), weight.flatten(1), bias)
    embedded: Tensor = convolution(patches.reshape(-1, *weight.shape[1:]))
    return embedded.flatten(1)


def position_table(embedding: nn.Module) -> Tensor:
    """Return all rows of a position table, (positions, width)."""
    import torch
    from torch import nn

    weight: Tensor = embedding.weight  # type: ignore[assignment]  # modules are typed loosely
    if _is_plain(embedding, nn.Embedding):
        return weight
    rows: Tensor = embedding(torch.arange(len(weight), device=weight.device))
    return rows


def weighted_rows(embedding: nn.Module, rows: Tensor, weights: Tensor) -> Tensor:
    """Return sums of a table's rows by their weights, (tokens, width); both are (tokens, rows of each)."""
    positions: Tensor = (embedding(rows) * weights[..., None]).sum(1)
    return positions


def _is_plain(module: nn.Module, *classes: type[nn.Module]) -> bool:
    """Return whether a module computes what its class does from its weights, and nobody watches it.

    An adapter puts a module of another class in its place; hooks and a ``forward`` of its own stay beside it.
    """
    hooks = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    return type(module) in classes and not any(hooks) and "forward" not in vars(module)
