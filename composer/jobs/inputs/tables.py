"""Images in tables: Parquet files, and datasets that Hugging Face's ``datasets`` saved to disk."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeGuard

from ...errors import ImageError, InputError
from ...files import open_regular, read_json
from .columns import column_of
from .row import Content, Row

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

PARQUET = "parquet"
DATASET = "dataset"
_BATCH = 16
"""Image files of a Parquet file in memory at once, beside those that wait for a worker."""
_PATHS = 4096
"""Paths of a Parquet file in memory at once."""


def parquet_rows(source: str, column: str | None) -> Iterator[Row]:
    """Yield the rows of a Parquet file.

    The images are in a column of bytes, of paths that count from the file's folder, or of Hugging Face's
    pairs of both.

    Raises:
        InputError: If it is no Parquet file, is empty, or the column is of another type.
    """
    with _parquet(source) as file:
        schema = file.schema_arrow
        name = column_of(source, schema.names, column)
        _check_type(source, schema.field(name))
        count = file.metadata.num_rows
    size = os.path.getsize(source)
    if not count:
        raise InputError(f"{source}: has no rows")
    for i in range(count):
        yield Row(f"{source}#{i}", source, PARQUET, source, (i, size), name)


def is_dataset(folder: str) -> bool:
    """Whether ``datasets`` saved a dataset, or several splits of one, into a folder."""
    return any(os.path.isfile(os.path.join(folder, name)) for name in ("state.json", "dataset_dict.json"))


def dataset_rows(source: str, column: str | None) -> Iterator[Row]:
    """Yield the rows of a dataset that was saved to disk, split by split.

    Raises:
        InputError: If it is not readable, is empty, or the column is of another type.
    """
    found = False
    for folder in _splits(source):
        state = _json(os.path.join(folder, "state.json"))
        if state.get("_indices_data_files"):
            raise InputError(f"{folder}: rows are chosen by an index; save it after flatten_indices()")
        for entry in _list(state.get("_data_files"), folder):
            name = entry.get("filename") if isinstance(entry, dict) else None
            if not _is_in_folder(name):
                raise InputError(f"{folder}/state.json: names a file outside its folder, or none")
            path = os.path.join(folder, name)
            schema, sizes = _batch_sizes(path)
            chosen = column_of(path, schema.names, column)
            _check_type(path, schema.field(chosen))
            for batch, size in enumerate(sizes):
                for i in range(size):
                    found = True
                    yield Row(f"{path}#{batch}.{i}", source, DATASET, path, (batch, i), chosen)
    if not found:
        raise InputError(f"{source}: has no rows")


def _splits(source: str) -> list[str]:
    index = os.path.join(source, "dataset_dict.json")
    if not os.path.isfile(index):
        return [source]
    names = _list(_json(index).get("splits"), index)
    if not all(map(_is_in_folder, names)):
        raise InputError(f"{index}: names a folder outside its own")
    return [os.path.join(source, name) for name in names]


def _is_in_folder(name: object) -> TypeGuard[str]:
    return isinstance(name, str) and os.path.basename(name) == name and name not in ("", ".", "..")


def _json(path: str) -> dict[str, Any]:
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{where}: is not what the library datasets writes")
    return value


def _check_type(table: str, field: pa.Field) -> None:
    import pyarrow.types as pt

    kind = field.type
    parts = (
        {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)} if pt.is_struct(kind) else {}
    )
    if parts:
        plain = all(_is_content(part) for name, part in parts.items() if name in ("bytes", "path"))
        if parts.keys() & {"bytes", "path"} and plain:
            return
    elif _is_content(kind):
        return
    raise InputError(
        f"{table}: column {field.name!r} is of type {kind}; images are bytes, strings with paths, or pairs "
        "of bytes and path"
    )


def _is_content(kind: pa.DataType) -> bool:
    import pyarrow.types as pt

    return bool(
        pt.is_binary(kind)
        or pt.is_large_binary(kind)
        or pt.is_string(kind)
        or pt.is_large_string(kind)
        or pt.is_null(kind)
    )


def _content(value: object, row: Row) -> Content:
    """Return what a cell holds.

    Raises:
        ImageError: If it is empty.
    """
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return os.path.join(os.path.dirname(row.path), value)
    raise ImageError(row.id, "the cell is empty")


def _parquet(path: str) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = open_regular(path, limit=sys.maxsize)
        return pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: not a readable Parquet file: {reason}") from error


def read_parquet(rows: Sequence[Row]) -> Iterator[Content | ImageError]:
    """Yield what successive rows of one Parquet file hold, in one pass over the file."""
    import pyarrow as pa

    rest = deque(rows)
    reason = "the file has fewer rows than when the job was planned"
    try:
        with _parquet(rows[0].path) as file:
            for position, cell in _cells(file, rows[0], rows[-1]):
                if rest and position == rest[0].where[0]:
                    yield _tried(cell.as_py(), rest.popleft())
    except (OSError, pa.ArrowException, KeyError, InputError) as error:
        reason = f"the Parquet file cannot be read here: {error}"
    for row in rest:
        yield ImageError(row.id, reason)


def _cells(file: pq.ParquetFile, first: Row, last: Row) -> Iterator[tuple[int, pa.Scalar]]:
    """Yield positions and cells of two rows and those between them, and a few around them."""
    import pyarrow.types as pt

    kind = file.schema_arrow.field(first.column).type
    size = _PATHS if pt.is_string(kind) or pt.is_large_string(kind) else _BATCH
    start = 0
    for group in range(file.metadata.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        if end > first.where[0] and start <= last.where[0]:
            position = start
            for batch in file.iter_batches(size, row_groups=[group], columns=[first.column]):
                if position + batch.num_rows > first.where[0]:
                    yield from enumerate(batch.column(0), position)
                position += batch.num_rows
                if position > last.where[0]:
                    return
        start = end


def _tried(value: object, row: Row) -> Content | ImageError:
    try:
        return _content(value, row)
    except ImageError as error:
        return error


def _stream(path: str) -> pa.RecordBatchStreamReader:
    import pyarrow as pa

    open_regular(path, limit=sys.maxsize).close()  # the map below waits on a named pipe
    return pa.ipc.open_stream(pa.memory_map(path))


def _batch_sizes(path: str) -> tuple[pa.Schema, list[int]]:
    import pyarrow as pa

    try:
        stream = _stream(path)
        return stream.schema, [batch.num_rows for batch in stream]
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: not a readable Arrow stream: {reason}") from error


@lru_cache(maxsize=4)
def _batches(path: str, column: str) -> list[pa.Array]:
    """Return a column of every batch, mapped from the file."""
    columns = [batch.column(batch.schema.get_field_index(column)) for batch in _stream(path)]
    for each in columns:
        each.validate(full=True)  # or offsets that are wrong would read elsewhere
    return columns


def load(row: Row) -> Content:
    """Return what a row of a saved dataset holds.

    Raises:
        ImageError: If the cell is empty, or is not there any more.
    """
    import pyarrow as pa

    batch, i = row.where
    try:
        return _content(_batches(row.path, row.column)[batch][i].as_py(), row)
    except (IndexError, pa.ArrowException) as error:
        raise ImageError(row.id, f"the file is not what it was when the job was planned: {error}") from error
