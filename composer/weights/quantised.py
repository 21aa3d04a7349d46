"""Quantised weights in files: integers under the weights' names, and their scales in a file beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WeightsError
from .source import open_checkpoint
from .staging import Staging
from .tensors import read_tensor

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

STORED_AS = {"int8": "int8", "int8-dynamic": "int8", "float8": "float8_e4m3fn"}
"""A config's ``quantize`` -> the dtype of such weights in a file."""


def is_quantised(weight: object) -> bool:
    """Whether a parameter is a quantised tensor of torchao."""
    return hasattr(weight, "qdata") and hasattr(weight, "scale")


def taken_apart(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return a module's state dict of plain tensors, and the scales of those that are quantised, by name."""
    state: dict[str, Any] = module.state_dict()
    scales = {name: weight.scale for name, weight in state.items() if is_quantised(weight)}
    return {name: weight.qdata if name in scales else weight for name, weight in state.items()}, scales


def plain_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield every parameter and buffer under its name; of one that is quantised, the tensors in it."""
    tensors: list[tuple[str, Any]] = [*module.named_parameters(), *module.named_buffers()]
    for name, tensor in tensors:
        if is_quantised(tensor):
            yield from ((f"{name}.{part}", getattr(tensor, part)) for part in tensor.__tensor_flatten__()[0])
        else:
            yield name, tensor


def scales_file(weights_file: Path) -> Path:
    """Return the file of the scales of the weights in a file."""
    return weights_file.with_suffix(".scales.safetensors")


def write_scales(scales: dict[str, Tensor], weights_file: Path) -> None:
    """Write scales beside a file of weights; without any, remove those of what the file held before."""
    from safetensors.torch import save_file

    file = scales_file(weights_file)
    if scales:
        save_file({name: scale.contiguous() for name, scale in scales.items()}, file)
    else:
        file.unlink(missing_ok=True)


def found_scales(source: str | None) -> Path | None:
    """Return the file of the scales of a file of weights, or of a saved tower's folder; None without one.

    Those of a hub are not looked for.
    """
    if source is None:
        return None
    path = Path(os.path.expanduser(source))
    file = scales_file(path if path.is_file() else path / "model.safetensors")
    return file if file.is_file() else None


def stored_dtype(quantize: str, source: str | None) -> str | None:
    """Return the dtype in which weights are quantised in a file; None where they are not.

    Raises:
        WeightsError: If they are, and the config does not quantise them.
    """
    if found_scales(source) is None:
        return None
    if quantize == "none":
        raise WeightsError(
            f"{source}: these weights were saved quantised; set quantize to what their tower.yaml says, "
            "or use the weights that were quantised"
        )
    return STORED_AS[quantize]


def read_scales(source: str | None, device: torch.device) -> dict[str, Tensor]:
    """Read the scales of weights that were saved quantised, by the weights' names in the module.

    There are none of weights that were not.

    Raises:
        WeightsError: If the file is broken.
    """
    import torch

    file = found_scales(source)
    if file is None:
        return {}
    checkpoint = open_checkpoint(str(file))
    headers = checkpoint.headers(checkpoint.files)
    for name, header in headers.items():
        if header.dtype != "float32":
            raise WeightsError(f"{file}: {name} is {header.dtype}; scales are float32")
    with Staging(device) as staging:
        return {
            name: read_tensor(checkpoint, name, header, torch.float32, staging)
            for name, header in headers.items()
        }
