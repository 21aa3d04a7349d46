"""Quantise linear layers by torchao."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BackendError, MissingDependencyError, WeightsError
from ..schemas import AnyConfig
from .widths import without_padding

_FLOAT8_SINCE = (8, 9)
"""Compute capability of the first GPUs with float8: Ada, then Hopper."""


def check_quantize(config: AnyConfig, device: torch.device) -> None:
    """Refuse a ``quantize`` that cannot work here, before anything is read.

    Raises:
        MissingDependencyError: If torchao is not installed.
        BackendError: If the device does not compute in float8.
    """
    if config.quantize == "none":
        return
    _torchao("quantization")
    if config.quantize != "float8":
        return
    if device.type != "cuda":
        where = str(device)
    elif (capability := torch.cuda.get_device_capability(device)) < _FLOAT8_SINCE:
        where = f"{torch.cuda.get_device_name(device)}, of {capability[0]}.{capability[1]}"
    else:
        return
    raise BackendError(
        "quantize: float8 runs on CUDA devices of compute capability 8.9 or more (Ada, Hopper and newer), "
        f"and this is {where}; use int8 or int8-dynamic"
    )


def quantize_linears(
    root: nn.Module, within: Iterable[nn.Module], quantize: str, scales: Mapping[str, Tensor]
) -> None:
    """Quantise the weights of linear layers, in place: one scale for each output feature.

    Args:
        root: The module that the layers are named in.
        within: Its modules whose layers are quantised.
        quantize: The config's ``quantize``.
        scales: Scales of weights that were saved quantised, by the weights' names in ``root``; such weights
            hold the integers of the file. Empty where none was.

    Raises:
        MissingDependencyError: If torchao is not installed.
        WeightsError: If ``scales`` are not those of the weights.
    """
    without_padding(root)
    # Subclasses are left: torch's attention takes their weights and runs them elsewhere.
    layers = {id(part) for module in within for part in module.modules() if type(part) is nn.Linear}
    linears = [(name, part) for name, part in root.named_modules() if id(part) in layers]
    done = set()
    for name, linear in linears:
        assert isinstance(linear, nn.Linear)
        before = linear.weight.detach()
        _quantize(linear, quantize)
        if linear.weight is not before and hasattr(linear.weight, "qdata"):
            done.add(f"{name}.weight")
            if scales:
                _restore(linear.weight, before, scales.get(f"{name}.weight"), name)
    if scales and (strange := scales.keys() - done):
        raise WeightsError(
            f"the saved scales have one of {min(strange)}, which is no weight that is quantised here"
        )


def _quantize(linear: nn.Linear, quantize: str) -> None:
    torchao = _torchao("quantization")
    config: Any
    if quantize == "int8":
        config = torchao.Int8WeightOnlyConfig(set_inductor_config=False)
    elif quantize == "int8-dynamic":
        narrow = overflows(linear.weight.device)
        config = torchao.Int8DynamicActivationInt8WeightConfig(set_inductor_config=False, reduce_range=narrow)
    else:
        config = torchao.Float8DynamicActivationFloat8WeightConfig(
            granularity=torchao.PerRow(), set_inductor_config=False
        )
    torchao.quantize_(linear, config, filter_fn=lambda module, name: True)


@cache
def overflows(device: torch.device) -> bool:
    """Return whether products of 8-bit integers overflow on a device.

    On a CPU without VNNI they do, and so do oneDNN's where ``ONEDNN_MAX_CPU_ISA`` keeps it from using VNNI,
    which torchao does not see.

    Raises:
        MissingDependencyError: If torchao is not installed.
    """
    if _torchao("utils").should_reduce_range(device):
        return True
    largest = torch.full((16, 16), 127, dtype=torch.int8)
    return device.type == "cpu" and int(torch._int_mm(largest, largest).min()) != 16 * 127**2


def _restore(weight: Any, integers: Tensor, scale: Tensor | None, name: str) -> None:
    """Give a quantised weight the values that it was saved with."""
    stored = integers.to(weight.qdata.dtype)
    if (
        scale is None
        or scale.shape != weight.scale.shape
        or not torch.equal(stored.to(integers.dtype), integers)
    ):
        raise WeightsError(
            f"{name}.weight and the scales beside its file do not belong together; save it again"
        )
    if getattr(weight, "reduce_range", False) and int(stored.abs().max()) > 64:
        raise WeightsError(
            f"{name}.weight was quantised where int8 products do not overflow, and they would on this "
            "processor, which has no VNNI or may not use it: quantise the float weights here, or set "
            "quantize to int8"
        )
    weight.qdata.copy_(stored)
    weight.scale.copy_(scale)


def _torchao(module: str) -> Any:
    """Import a module of torchao, without its warnings of kernels that it has and does not find usable.

    Raises:
        MissingDependencyError: If it is not installed.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        return import_module(f"torchao.{module}")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "quantize needs torchao, which is not installed: pip install 'vision-composer[torchao]'"
        ) from error
    finally:
        logging.disable(disabled)
