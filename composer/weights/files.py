"""Reading tensors out of one checkpoint file: safetensors, or a pickle when that was asked for."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

Format = Literal["safetensors", "pickle"]


@dataclass(frozen=True)
class TensorHeader:
    """Where a tensor is, and its shape; not its values."""

    file: Path
    shape: tuple[int, ...]


def read_headers(path: Path) -> dict[str, TensorHeader]:
    """Names and shapes of the tensors in a file.

    Raises:
        WeightsError: Not a checkpoint file, or cut short.
    """
    if path.suffix != ".safetensors":
        return {name: TensorHeader(path, tuple(tensor.shape)) for name, tensor in _pickled(path).items()}
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            # get_slice reads the header only; file.keys() is a method, not a dict's.
            return {
                name: TensorHeader(path, tuple(file.get_slice(name).get_shape()))
                for name in file.keys()  # noqa: SIM118
            }
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: not a complete safetensors file: {error}") from error


def read_tensor(path: Path, name: str) -> Tensor:
    """One tensor, in the dtype it is stored in.

    Raises:
        WeightsError: It cannot be read.
    """
    if path.suffix != ".safetensors":
        return _pickled(path)[name]
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
            return tensor
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: tensor {name} cannot be read: {error}") from error


def _pickled(path: Path) -> dict[str, Tensor]:
    return _unpickle(path, path.stat().st_mtime_ns)


def forget() -> None:
    """Let go of the pickle that was read last; old ones are whole in memory."""
    _unpickle.cache_clear()


@lru_cache(maxsize=1)
def _unpickle(path: Path, modified: int) -> dict[str, Tensor]:
    """``modified`` is there for the cache, which must not outlive the file's content."""
    import torch

    try:
        # weights_only admits tensors and containers, no other class and no code; mmap reads what is used.
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # files from before torch 1.6 cannot be mapped
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise WeightsError(f"{path}: not a pickle of tensors alone: {reason}") from error
    if not isinstance(content, dict) or not all(
        isinstance(value, torch.Tensor) for value in content.values()
    ):
        raise WeightsError(f"{path}: expected a pickled state dict, from names to tensors")
    return content
