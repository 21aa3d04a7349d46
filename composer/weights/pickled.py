"""State dicts in pickles, read by torch's weights-only unpickler: only where the config asks for them."""

from __future__ import annotations

import zipfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WeightsError
from ..files import open_regular
from .header import FILE_BYTES, NOT_QUANTISED, TensorHeader

if TYPE_CHECKING:
    from torch import Tensor


def pickled_headers(path: Path) -> dict[str, TensorHeader]:
    """Return what a pickle says of its tensors, by their names.

    Raises:
        WeightsError: If it is not a pickled state dict of plain tensors.
    """
    return {
        name: TensorHeader(
            path, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), 0, tensor.nbytes
        )
        for name, tensor in _state_dict(path).items()
    }


def read_pickled(header: TensorHeader, name: str) -> Tensor:
    """Return one tensor, in the dtype it is stored in and in memory of its own.

    Raises:
        WeightsError: As :func:`pickled_headers`, or if the file is another one by now.
    """
    try:
        # A mapped tensor would change with the file.
        return _state_dict(header.file)[name].clone()
    except KeyError as error:
        raise WeightsError(f"{header.file}: tensor {name} is no longer there") from error


def forget() -> None:
    """Let go of the pickle that was read last, which is whole in memory if it is an old one."""
    _unpickle.cache_clear()


def _state_dict(path: Path) -> dict[str, Tensor]:
    try:
        status = path.stat()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from error
    return _unpickle(path, (status.st_mtime_ns, status.st_size, status.st_ino))


@lru_cache(maxsize=1)
def _unpickle(path: Path, state: tuple[int, ...]) -> dict[str, Tensor]:
    """``state`` is that of the file: what is kept must not outlive the file's content."""
    import torch

    try:
        _check_stored(path)
        # weights_only admits tensors and containers, no other class and no code; mmap reads what is used.
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # files from before torch 1.6 cannot be mapped
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever it stumbles over
        if "torchao" in str(error):  # the class that the unpickler does not admit
            raise WeightsError(
                f"{path}: holds weights quantised by torchao, which are not read: {NOT_QUANTISED}"
            ) from error
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise WeightsError(f"{path}: not a pickle of tensors alone: {reason[:300]}") from error
    if not isinstance(content, dict):
        raise WeightsError(
            f"{path}: expected a pickled state dict, from names to tensors, not {type(content).__name__}"
        )
    for name, tensor in content.items():
        if reason := _unusable(name, tensor):
            raise WeightsError(f"{path}: expected a pickled state dict, from names to tensors: {reason}")
    return content


def _check_stored(path: Path) -> None:
    """Refuse what is no regular file, and a compressed archive, which may unpack to any size.

    torch compresses nothing.

    Raises:
        ValueError: If it is such an archive.
        OSError: If it cannot be read.
    """
    with open_regular(path, limit=FILE_BYTES) as file:
        if not zipfile.is_zipfile(file):
            return
        with zipfile.ZipFile(file) as archive:
            packed = [entry for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise ValueError(
            f"it is a compressed archive ({packed[0].filename[:80]!r}), which torch never writes"
        )


def _unusable(name: object, tensor: Any) -> str:
    """Why an item of a state dict cannot be a weight; empty if it can."""
    import torch

    if not isinstance(name, str):
        return f"the key {str(name)[:80]!r} is no name, but of type {type(name).__name__}"
    if not isinstance(tensor, torch.Tensor):
        return f"{name} is no tensor, but of type {type(tensor).__name__}"
    kinds = {
        "nested": tensor.is_nested,
        str(tensor.layout).removeprefix("torch."): tensor.layout is not torch.strided,
        "meta": tensor.is_meta,
        "quantised": tensor.is_quantized,
    }
    kind = next((kind for kind, is_so in kinds.items() if is_so), None)
    if kind is not None:
        return f"tensor {name} is {kind}, not one of plain numbers"
    if tensor.nbytes > tensor.untyped_storage().nbytes():
        return f"tensor {name} of shape {tuple(tensor.shape)} repeats the few numbers it has"
    return ""
