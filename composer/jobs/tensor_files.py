"""Features as tensors in safetensors files, with a Parquet file beside each that says what is where."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from .encoded import Encoded
from .hidden import hidden, sync
from .writers import FeatureFile

_DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_HEADER_BYTES = 160
"""What a tensor takes in the header at most: its name of three dozen characters, dtype, shape and place."""
MOST_IMAGES = 300_000
"""Images of a file: of as many, two tensors each, the header is within the 100 MB that safetensors reads."""


class SafetensorsFile(FeatureFile):
    """Tensors in a safetensors file of the same name as the Parquet file, one (tokens, width) for each image.

    The Parquet file has the other facts, and ``file`` and ``key`` instead of the features. Tensors are
    written as they come: room for the header is left in front, and what it does not need stays blank.

    Args:
        path: The Parquet file.
        metadata: JSON-ready facts.
        num_images: Images that are added at most.
    """

    def __init__(self, path: Path, metadata: Mapping[str, Any], *, num_images: int) -> None:
        super().__init__(path, metadata)
        self._tensors_path = path.with_suffix(".safetensors")
        self._tensors_part = hidden(self._tensors_path)
        self._header: dict[str, Any] = {}
        self._room = 8 + 8 * (8 + num_images * self.tensors_per_image * _HEADER_BYTES // 8)
        try:
            self._tensors: IO[bytes] = self._tensors_part.open("wb")
            self._tensors.seek(self._room)
        except OSError as error:
            raise self.cannot_write(error) from error

    tensors_per_image = 1

    def own_fields(self) -> list[tuple[str, Any]]:
        import pyarrow as pa

        return [("file", pa.string()), ("key", pa.string())]

    def own_columns(self, rows: Sequence[Encoded]) -> list[Any]:
        import pyarrow as pa

        for row in rows:
            self.add(row)
        name = self._tensors_path.name
        return [pa.array([name] * len(rows)), pa.array([key_of(row.row) for row in rows])]

    def add(self, row: Encoded) -> None:
        """Write the tensors of an image."""
        self.add_tensor(key_of(row.row), _DTYPES[row.dtype], row.features)

    def add_tensor(self, key: str, dtype: str, values: np.ndarray[Any, Any]) -> None:
        """Write a tensor."""
        start = self._tensors.tell() - self._room
        self._tensors.write(np.ascontiguousarray(values).data)
        place = [start, start + values.nbytes]
        self._header[key] = {"dtype": dtype, "shape": values.shape, "data_offsets": place}

    def finish(self, metadata: Mapping[bytes, bytes] | None = None) -> None:
        super().finish(metadata)
        try:
            header = json.dumps(self._header, separators=(",", ":")).encode()
            self._tensors.seek(0)
            size = self._room - 8
            self._tensors.write(size.to_bytes(8, "little") + header.ljust(size))
            sync(self._tensors)
            self._tensors.close()
        except OSError as error:
            raise self.cannot_write(error) from error

    def publish(self) -> None:
        try:
            self._tensors_part.replace(self._tensors_path)
        except OSError as error:
            raise self.cannot_write(error) from error
        super().publish()  # last: a part is there when its Parquet file is

    def discard(self) -> None:
        super().discard()
        with contextlib.suppress(OSError):
            self._tensors.close()
        self._tensors_part.unlink(missing_ok=True)


class VllmFile(SafetensorsFile):
    """Tensors under the names that vLLM has for image embeddings that are given instead of an image.

    ``KEY.image_embeds`` are the rows that the language model reads. Of encoders that pack images of any size
    they are (rows, width), and ``KEY.image_grid_thw`` is there, (1, 3); of others (1, rows, width).

    Args:
        path: The Parquet file.
        metadata: JSON-ready facts.
        num_images: Images that are added at most.
        grids: Whether the language model needs the grid.
    """

    tensors_per_image = 2

    def __init__(self, path: Path, metadata: Mapping[str, Any], *, num_images: int, grids: bool) -> None:
        self._grids = grids
        super().__init__(path, metadata, num_images=num_images)

    def add(self, row: Encoded) -> None:
        key = key_of(row.row)
        embeds = row.features if self._grids else row.features[None]
        self.add_tensor(f"{key}.image_embeds", _DTYPES[row.dtype], embeds)
        if self._grids:
            self.add_tensor(f"{key}.image_grid_thw", "I64", np.array([row.grid], np.int64))


def key_of(row: int) -> str:
    """Return the name of an image's tensor."""
    return f"{row:09d}"
