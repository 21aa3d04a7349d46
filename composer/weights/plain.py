"""A module whose weights are plain tensors under transformers' names, as files have them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from ..errors import WeightsError
from .quantised import is_quantised

_REPARAMETRIZED = ("weight_g", "weight_v", "weight_orig")
"""Parameters of torch's older weight norm, spectral norm and pruning."""


def plain(module: nn.Module, *, merge_adapters: bool, quantised: bool = False) -> nn.Module:
    """Return a module that can be saved: itself, or a copy with peft's adapters merged.

    Args:
        module: A tower's or a connector's module; it is not changed.
        merge_adapters: Whether to merge adapters; else they are refused.
        quantised: Whether weights may be quantised, because the config says so; they stay as they are.

    Raises:
        WeightsError: If its weights are not plain ones; it says what they are and what to do.
    """
    adapted = [name for name, part in module.named_modules() if _is_adapted(part)]
    if adapted and not merge_adapters:
        raise WeightsError(
            f"{adapted[0]} has an adapter that is not merged; save(folder, merge_adapters=True) writes it "
            "merged into the weights"
        )
    if adapted:
        module = deepcopy(module)
        for name in adapted:
            parent, _, last = name.rpartition(".")
            setattr(module.get_submodule(parent), last, _merged(module.get_submodule(name)))
    for name, part in module.named_modules():
        if is_parametrized(part) or any(hasattr(part, each) for each in _REPARAMETRIZED):
            raise WeightsError(
                f"the weights of {name} are parametrized, as by weight norm; make them plain before saving "
                "(torch.nn.utils.parametrize.remove_parametrizations and the like)"
            )
    for name, parameter in module.named_parameters():
        kind = type(parameter.data)
        if quantised and is_quantised(parameter):
            continue
        if kind is not torch.Tensor or not parameter.is_floating_point():
            what = str(parameter.dtype) if kind is torch.Tensor else kind.__name__
            raise WeightsError(
                f"{name} is a {what}, not a plain tensor of floats; save the tower before it is quantised or "
                "sharded"
            )
    return module


def _is_adapted(part: Any) -> bool:
    """Whether peft put the module in the place of another."""
    return hasattr(part, "base_layer") or (
        hasattr(part, "original_module") and hasattr(part, "modules_to_save")
    )


def _merged(part: Any) -> Any:
    """Return the module that a module of peft's stands for."""
    if not hasattr(part, "base_layer"):  # a whole module was trained
        name = part.active_adapter[0] if isinstance(part.active_adapter, list) else part.active_adapter
        return part.original_module if part.disable_adapters else part.modules_to_save[name]
    if not part.merged and not part.disable_adapters:
        part.merge(safe_merge=True)
    return part.get_base_layer()
