"""Reading features back: of a job, of one file, or of a file that version 0.1.0 wrote."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .encoded import METADATA_KEY, as_float32
from .parts import iter_files
from .plan import read_plan

if TYPE_CHECKING:
    import pyarrow as pa

_DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
}


def read_features(path: str | os.PathLike[str]) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Read features, a few megabytes in memory at a time.

    Args:
        path: The output of a job, which may be unfinished, or a Parquet file of features.

    Yields:
        An image's id, and its features (tokens, width): float32 or float16; bfloat16 becomes float32, without
        loss.

    Raises:
        InputError: If it is neither.
    """
    where = Path(os.path.expanduser(path))
    if where.is_dir():
        read_plan(where)
        for file in iter_files(where):
            yield from _read_file(file)
    else:
        yield from _read_file(where)


def _read_file(path: Path) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if METADATA_KEY not in (file.metadata.metadata or {}):
                raise InputError(f"{path}: a Parquet file, but not of features")
            for batch in file.iter_batches(batch_size=16):
                yield from _rows(batch) if "features" in batch.schema.names else _tensors(batch, path)
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a readable Parquet file of features: {error}") from error


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    import pyarrow.types as pt

    columns = {name: batch.column(name) for name in batch.schema.names}
    features = columns["features"]
    if "image" in columns:  # of version 0.1.0
        ids = columns["image"].to_pylist()
        pairs = zip(columns["num_tokens"].to_pylist(), columns["width"].to_pylist(), strict=True)
        shapes = list(pairs)
    else:
        ids, shapes = columns["id"].to_pylist(), list(map(tuple, columns["shape"].to_pylist()))
    if pt.is_binary(features.type):
        for name, shape, kind, cell in zip(ids, shapes, columns["dtype"].to_pylist(), features, strict=True):
            values = np.frombuffer(bytes(cell.as_py()), _DTYPES[str(kind)]).reshape(shape)
            yield name, as_float32(values) if kind == "bfloat16" else values.copy()
    else:
        for name, shape, cell in zip(ids, shapes, features, strict=True):
            yield name, cell.values.to_numpy(zero_copy_only=False).reshape(shape).copy()


def _tensors(batch: pa.RecordBatch, path: Path) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Yield the rows of a Parquet file whose tensors are in a safetensors file beside it."""
    import torch
    from safetensors import SafetensorError, safe_open

    ids, keys = batch.column("id").to_pylist(), batch.column("key").to_pylist()
    try:
        with safe_open(path.with_suffix(".safetensors"), framework="pt") as file:
            names = set(file.keys())
            for name, key in zip(ids, keys, strict=True):
                tensor = file.get_tensor(key if key in names else f"{key}.image_embeds")
                values = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
                yield name, values.reshape(-1, values.shape[-1]).numpy()
    except SafetensorError as error:
        raise InputError(f"{path.with_suffix('.safetensors')}: cannot be read: {error}") from error
