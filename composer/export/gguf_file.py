"""GGUF files: written, read back, and compared with what was to be written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..errors import ExportError, MissingDependencyError

Value: TypeAlias = "str | bool | int | float | list[int] | list[float]"
"""A value under a key: integers are of 32 bits (unsigned, or signed in a list), floats are float32."""

ARCHITECTURE = "clip"


def gguf_package() -> ModuleType:
    """Import the package gguf.

    Raises:
        MissingDependencyError: If it is not installed.
    """
    try:
        import gguf
    except ImportError as error:
        raise MissingDependencyError(
            f"{error.name} is needed for GGUF files: pip install 'vision-composer[gguf]'"
        ) from error
    return gguf


def write(path: Path, keys: Mapping[str, Value], tensors: Mapping[str, Tensor]) -> None:
    """Write a file.

    Args:
        path: The file.
        keys: Key -> value; that of the architecture is added.
        tensors: Name -> tensor on the CPU: float32, float16 or bfloat16, contiguous.
    """
    gguf = gguf_package()
    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    for key, value in keys.items():
        _add(writer, key, value)
    for name, tensor in tensors.items():
        if tensor.dtype == torch.bfloat16:  # numpy has no such dtype
            kind = gguf.GGMLQuantizationType.BF16
            writer.add_tensor(name, tensor.view(torch.uint8).numpy(), raw_dtype=kind)
        else:
            writer.add_tensor(name, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add(writer: Any, key: str, value: Value) -> None:
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_array(key, value)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a file of float32, float16 and bfloat16 tensors.

    Returns:
        Key -> value, and name -> tensor, in memory of its own.

    Raises:
        ExportError: If the file is none, is cut off or damaged, or has tensors of other types; says which.
        MissingDependencyError: If gguf is not installed.
    """
    gguf = gguf_package()
    try:
        reader = gguf.GGUFReader(path)
        # The reader counts the header's numbers among the keys.
        fields = {key: field for key, field in reader.fields.items() if not key.startswith("GGUF.")}
        keys = {key: field.contents() for key, field in fields.items()}
        tensors = {each.name: _tensor(each, gguf.GGMLQuantizationType) for each in reader.tensors}
    except FileNotFoundError as error:
        raise ExportError(f"{path}: no such file") from error
    except ExportError as error:
        raise ExportError(f"{path}: {error}") from error
    except Exception as error:  # gguf has no class for what is broken
        raise ExportError(f"{path}: this is no GGUF file, or it is cut off or damaged: {error}") from error
    return keys, tensors


def _tensor(stored: Any, kinds: Any) -> Tensor:
    if stored.tensor_type not in (kinds.F32, kinds.F16, kinds.BF16):
        raise ExportError(f"{stored.name} is of the type {stored.tensor_type.name}, which is not read here")
    tensor = torch.from_numpy(np.array(stored.data))
    return tensor.view(torch.bfloat16) if stored.tensor_type == kinds.BF16 else tensor


def check(path: Path, keys: Mapping[str, Value], tensors: Mapping[str, Tensor]) -> None:
    """Read a file back, and compare it with what :func:`write` was given.

    Raises:
        ExportError: If it cannot be read, or a key or a tensor is missing, is another, or is too many.
    """
    found_keys, found = read(path)
    wanted_keys = {**keys, "general.architecture": ARCHITECTURE}
    for what, wanted, there in (("key", wanted_keys, found_keys), ("tensor", tensors, found)):
        if differing := sorted(wanted.keys() ^ there.keys()):
            raise ExportError(f"what was written has not the {what}s of the encoder: {', '.join(differing)}")
    for key, value in wanted_keys.items():
        if found_keys[key] != value:
            raise ExportError(f"{key} was written as {found_keys[key]}, and is {value}")
    for name, tensor in tensors.items():
        if found[name].dtype != tensor.dtype or not torch.equal(found[name], tensor):
            raise ExportError(f"the tensor {name} that was written is not the encoder's")
