"""Files of features: written under another name, and renamed when they are whole."""

from __future__ import annotations

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from ..errors import VisionComposerError
from .encoded import METADATA_KEY, Encoded, as_float32, storable
from .hidden import hidden, sync

ROW_GROUP_BYTES = 64 * 2**20


class FeatureFile(ABC):
    """A file of features, or several under one name, that appear when everything is in them.

    Args:
        path: The Parquet file; its folder exists.
        metadata: JSON-ready facts for the Parquet file's metadata.

    Raises:
        VisionComposerError: If it cannot be written.
    """

    values_at_once: ClassVar[int] = 1024
    """Values of a column after which pyarrow looks whether a page is full; what it holds by then is copied
    as it grows."""

    def __init__(self, path: Path, metadata: Mapping[str, Any]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path = path
        self.kept = False
        self.num_images = self.num_tokens = 0
        self.part = hidden(path)
        self._rows: list[Encoded] = []
        self._num_bytes = 0
        fields = [
            ("row", pa.int64()),
            ("id", pa.string()),
            ("source", pa.string()),
            ("size", pa.list_(pa.int32(), 2)),
            ("grid", pa.list_(pa.int32(), 3)),
            ("num_tokens", pa.int32()),
            ("dtype", pa.string()),
            ("shape", pa.list_(pa.int32(), 2)),
            *self.own_fields(),
        ]
        schema = pa.schema(
            [pa.field(name, kind, nullable=False) for name, kind in fields],
            metadata={METADATA_KEY: json.dumps(metadata).encode()},
        )
        try:
            self._file: IO[bytes] = self.part.open("wb")
            # Dictionaries, statistics and compression of features would cost time and win nothing.
            self._parquet = pq.ParquetWriter(
                self._file,
                schema,
                compression="none",
                use_dictionary=["source", "dtype"],
                write_batch_size=self.values_at_once,
                write_statistics=["row", "id", "num_tokens"],
            )
        except OSError as error:
            raise self.cannot_write(error) from error

    @abstractmethod
    def own_fields(self) -> list[tuple[str, Any]]:
        """Return the columns behind those that every file has: names and Arrow types."""

    @abstractmethod
    def own_columns(self, rows: Sequence[Encoded]) -> list[Any]:
        """Return these columns for some rows, as Arrow arrays."""

    def write(self, rows: Sequence[Encoded]) -> None:
        """Add images.

        Raises:
            VisionComposerError: If it cannot be written.
        """
        self._rows.extend(rows)
        self.num_images += len(rows)
        self.num_tokens += sum(row.num_tokens for row in rows)
        self._num_bytes += sum(row.features.nbytes for row in rows)
        if self._num_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        rows, self._rows, self._num_bytes = self._rows, [], 0
        if not rows:
            return
        shapes = [row.features.shape for row in rows]
        columns = [
            pa.array([row.row for row in rows], pa.int64()),
            pa.array([storable(row.id) for row in rows], pa.string()),
            pa.array([storable(row.source) for row in rows], pa.string()),
            pa.array([row.size for row in rows], pa.list_(pa.int32(), 2)),
            pa.array([row.grid for row in rows], pa.list_(pa.int32(), 3)),
            pa.array([row.num_tokens for row in rows], pa.int32()),
            pa.array([row.dtype for row in rows], pa.string()),
            pa.array(shapes, pa.list_(pa.int32(), 2)),
        ]
        try:
            batch = pa.record_batch([*columns, *self.own_columns(rows)], schema=self._parquet.schema)
            self._parquet.write_batch(batch)
        except OSError as error:
            raise self.cannot_write(error) from error

    def finish(self, metadata: Mapping[bytes, bytes] | None = None) -> None:
        """Write what is left and close the file; it keeps its other name until it is published.

        Args:
            metadata: More metadata for the Parquet file.

        Raises:
            VisionComposerError: If it cannot be written.
        """
        self._flush()
        try:
            self._parquet.add_key_value_metadata(dict(metadata or {}))
            self._parquet.close()
            sync(self._file)
            self._file.close()
        except OSError as error:
            raise self.cannot_write(error) from error

    def publish(self) -> None:
        """Give the file its name.

        Raises:
            VisionComposerError: If it cannot be renamed.
        """
        try:
            self.part.replace(self.path)
        except OSError as error:
            raise self.cannot_write(error) from error

    def discard(self) -> None:
        """Remove what was written, if it was neither published nor is ``kept``."""
        for file in (self._parquet, self._file):
            with contextlib.suppress(Exception):  # what it holds back may not fit on the disk either
                file.close()
        if not self.kept:
            self.part.unlink(missing_ok=True)

    def cannot_write(self, error: OSError) -> VisionComposerError:
        """Return the error that says so."""
        return VisionComposerError(f"{self.path}: cannot be written: {error.strerror or error}")


class BinaryFile(FeatureFile):
    """Features as bytes, row by row, little-endian; ``shape`` and ``dtype`` say what they are.

    Written 5 times as fast as lists of numbers and read 8 times as fast.
    """

    values_at_once = 8  # images

    def own_fields(self) -> list[tuple[str, Any]]:
        import pyarrow as pa

        return [("features", pa.binary())]

    def own_columns(self, rows: Sequence[Encoded]) -> list[Any]:
        import pyarrow as pa

        offsets = np.array([0, *accumulate(row.features.nbytes for row in rows)])
        if offsets[-1] > np.iinfo(np.int32).max:
            return [pa.array([row.features.tobytes() for row in rows], pa.binary())]
        content = np.concatenate([row.features.reshape(-1) for row in rows])
        buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(content)]
        return [pa.Array.from_buffers(pa.binary(), len(rows), buffers)]


class ListFile(FeatureFile):
    """Features as a list of numbers, row by row, for those who query them; bfloat16 as float32.

    Args:
        path: The Parquet file.
        metadata: JSON-ready facts.
        half: Whether the numbers are float16.
    """

    def __init__(self, path: Path, metadata: Mapping[str, Any], *, half: bool) -> None:
        self._half = half
        super().__init__(path, metadata)

    def own_fields(self) -> list[tuple[str, Any]]:
        import pyarrow as pa

        return [("features", pa.list_(pa.float16() if self._half else pa.float32()))]

    def own_columns(self, rows: Sequence[Encoded]) -> list[Any]:
        import pyarrow as pa

        values = [row.features.reshape(-1) for row in rows]
        values = [as_float32(part) if part.dtype == np.uint16 else part for part in values]
        offsets = np.array([0, *accumulate(map(len, values))], np.int32)
        return [pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(values)))]
