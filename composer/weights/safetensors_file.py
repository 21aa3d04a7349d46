"""Safetensors files, read by ranges of bytes.

Not mapped into memory: a mapped file that another process cuts short ends the process that reads it.
"""

from __future__ import annotations

import os
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ..errors import WeightsError
from ..files import open_regular, parse_json
from .header import FILE_BYTES, TensorHeader

if TYPE_CHECKING:
    from torch import Tensor

    from .staging import Staging

_HEADER_BYTES = 32 << 20
_HEADER_VALUES = 250_000
"""About ten for each tensor, so 25,000 in a file; models of more have many files."""

_DTYPES = {
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "F8_E4M3": ("float8_e4m3fn", 1),
    "F8_E5M2": ("float8_e5m2", 1),
    "F8_E8M0": ("float8_e8m0fnu", 1),
    "C64": ("complex64", 8),
    "I64": ("int64", 8),
    "U64": ("uint64", 8),
    "I32": ("int32", 4),
    "U32": ("uint32", 4),
    "I16": ("int16", 2),
    "U16": ("uint16", 2),
    "I8": ("int8", 1),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}
"""The file's name of a dtype -> torch's name, and the bytes of a value."""

_Natural = Annotated[int, Field(ge=0, lt=1 << 63)]


class _Entry(BaseModel):
    """What the header says of one tensor."""

    model_config = ConfigDict(extra="forbid", strict=True)

    dtype: Annotated[str, Field(max_length=32)]
    shape: Annotated[list[_Natural], Field(max_length=16)]
    data_offsets: Annotated[list[_Natural], Field(min_length=2, max_length=2)]


_METADATA = "__metadata__"
_NOTES = TypeAdapter(dict[str, str], config=ConfigDict(strict=True, title=_METADATA))
"""What whoever wrote the file noted in it; not used."""
_ENTRIES = TypeAdapter(dict[str, _Entry])


def safetensors_headers(path: Path) -> dict[str, TensorHeader]:
    """Return what a file says of its tensors, by their names.

    Raises:
        WeightsError: If it is not a whole safetensors file, or names a tensor twice.
    """
    try:
        with open_regular(path, limit=FILE_BYTES) as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or (length > size - 8 and length <= _HEADER_BYTES):
                raise WeightsError(f"{path}: not a complete safetensors file: it ends within its header")
            if length > _HEADER_BYTES:
                raise WeightsError(
                    f"{path}: not a safetensors file: its header would have {length:,} bytes, and the limit "
                    f"is {_HEADER_BYTES:,}"
                )
            content = file.read(length)
        header = parse_json(content, values=_HEADER_VALUES)
        _NOTES.validate_python(header.pop(_METADATA, {}))
        entries = _ENTRIES.validate_python(header)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        line = error.errors(include_url=False)[0]
        if error.title == _METADATA:
            raise WeightsError(f"{path}: not a safetensors file: its {_METADATA}: {line['msg']}") from None
        name, *where = line["loc"]
        place = ".".join(map(str, where))
        raise WeightsError(f"{path}: tensor {str(name)[:200]}: {place}: {line['msg']}") from None
    except ValueError as error:
        raise WeightsError(f"{path}: not a safetensors file: its header: {error}") from error
    headers = {name: _tensor_header(path, name, entry, 8 + length) for name, entry in entries.items()}
    _check_ranges(path, headers, 8 + length, size)
    return headers


def read_safetensor(header: TensorHeader, name: str, staging: Staging) -> Tensor:
    """Read one tensor to a device, in the dtype it is stored in.

    Raises:
        WeightsError: If the file cannot be read, or became shorter since its header was read.
    """
    import torch

    def fill(part: memoryview) -> None:
        done = 0
        while done < len(part):
            count = file.readinto(part[done:])
            if not count:
                raise WeightsError(
                    f"{header.file}: the file ends within tensor {name}; it was longer when it was opened"
                )
            done += count

    try:
        with open_regular(header.file, limit=FILE_BYTES) as file:
            file.seek(header.start)
            content = staging.receive(header.size, fill)
    except OSError as error:
        raise WeightsError(
            f"{header.file}: tensor {name} cannot be read: {error.strerror or error}"
        ) from error
    return content.view(getattr(torch, header.dtype)).reshape(header.shape)


def _tensor_header(path: Path, name: str, entry: _Entry, data: int) -> TensorHeader:
    start, end = entry.data_offsets
    dtype, bytes_per_value = _DTYPES.get(entry.dtype, (entry.dtype, None))
    if bytes_per_value is not None and prod(entry.shape) * bytes_per_value != end - start:
        raise WeightsError(
            f"{path}: tensor {name} of {entry.dtype} and shape {tuple(entry.shape)} cannot have "
            f"{end - start:,} bytes"
        )
    return TensorHeader(path, tuple(entry.shape), dtype, data + start, end - start)


def _check_ranges(path: Path, headers: dict[str, TensorHeader], data: int, size: int) -> None:
    """Refuse tensors that share bytes or leave some out, and a file that is not as long as they are."""
    reached = data
    for name, header in sorted(headers.items(), key=lambda item: (item[1].start, item[1].size)):
        if header.start != reached:
            raise WeightsError(
                f"{path}: not a safetensors file: tensor {name} does not begin where the one before it ends"
            )
        reached += header.size
    if size < reached:
        raise WeightsError(f"{path}: not a complete safetensors file: it has {size:,} bytes of {reached:,}")
    if size > reached:
        raise WeightsError(f"{path}: not a safetensors file: {size - reached:,} bytes follow the last tensor")
