"""Where features go: one Parquet file, complete or not there, and the list of images that failed."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np

from ..errors import ImageError, InputError, VisionComposerError
from ..files import open_regular

if TYPE_CHECKING:
    from torch import Tensor

METADATA_KEY = b"vision_composer"
ROW_GROUP_BYTES = 64 * 2**20
MAX_LINE_BYTES = 2**20
"""More than a line of a list of failures ever has."""


def output_file(output: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Return the Parquet file that ``output`` names: itself, or ``features.parquet`` in that folder.

    Raises:
        InputError: If it or its list of failures exists and may not be replaced, or is something else.
    """
    path = Path(os.path.expanduser(output))
    if path.suffix != ".parquet":
        path /= "features.parquet"
    try:
        is_folder = path.is_dir()
    except OSError as error:
        raise InputError(f"{str(path)[:80]}...: no name for a file: {error.strerror}") from error
    if is_folder:
        raise InputError(f"{path}: is a folder; name a .parquet file, or a folder to put features.parquet in")
    for file in (path, failures_file(path)):
        if os.path.lexists(file) and not overwrite:  # a link that leads nowhere is somebody's, too
            raise InputError(
                f"{file}: exists; choose another output, or allow it to be replaced with overwrite=True "
                "(on the command line --overwrite)"
            )
    if os.path.lexists(failures_file(path)) and not _is_failures_file(failures_file(path)):
        raise InputError(
            f"{failures_file(path)}: stands where the images that fail would be listed, and is no such list; "
            "move it, or choose another output"
        )
    return path


def failures_file(path: Path) -> Path:
    """Return where the images that failed are listed beside a Parquet file."""
    return path.with_name(f"{path.stem}.failed.jsonl")


def _is_failures_file(path: Path) -> bool:
    try:
        with open_regular(path, limit=sys.maxsize) as file:
            line = json.loads(file.readline(MAX_LINE_BYTES))
            return isinstance(line, dict) and line.keys() == {"image", "reason"}
    except (OSError, ValueError, RecursionError):
        return False


class FeatureWriter:
    """Writes features to a Parquet file that appears under its name only when everything is in it.

    One row per image: ``image`` (string), ``num_tokens`` and ``width`` (int32), and ``features``, a list of
    num_tokens x width numbers, row by row. Numbers are float32; those of a float16 tower are float16
    (halffloat), and bfloat16, which Parquet lacks, becomes float32 without loss. The file's metadata holds
    under ``vision_composer`` the version, config and dtype as JSON. Row groups take about 64 MiB, so memory
    does not grow with the number of images.

    Images that failed go to ``<name>.failed.jsonl`` beside it, which is there only if there are any.

    Args:
        path: The Parquet file; its folder is made.
        half: Store float16.
        metadata: JSON-ready facts.
        overwrite: Replace files of these names. Otherwise a file that somebody makes before the end is kept,
            and what was written stays beside it, under a name that the error gives.

    Raises:
        VisionComposerError: If it cannot be written, or somebody made a file of its name.
    """

    def __init__(
        self, path: Path, *, half: bool, metadata: Mapping[str, Any], overwrite: bool = False
    ) -> None:
        self.path = path
        self.failures = failures_file(path)
        self.overwrite = overwrite
        self.num_failed = 0
        self._dtype = np.float16 if half else np.float32
        self._metadata = {METADATA_KEY: json.dumps(metadata).encode()}
        self._rows: list[tuple[str, np.ndarray[Any, Any]]] = []
        self._num_bytes = 0
        run = f"{os.getpid()}-{threading.get_ident()}"
        self._part = path.with_name(f".{path.name}.{run}.part")
        self._failures_part = path.with_name(f".{self.failures.name}.{run}.part")
        self._failures_file: IO[str] | None = None
        self._kept = False

    def __enter__(self) -> Self:
        import pyarrow as pa
        import pyarrow.fs as pa_fs
        import pyarrow.parquet as pq

        schema = pa.schema(
            [
                pa.field("image", pa.string(), nullable=False),
                pa.field("num_tokens", pa.int32(), nullable=False),
                pa.field("width", pa.int32(), nullable=False),
                pa.field("features", pa.list_(pa.from_numpy_dtype(self._dtype)), nullable=False),
            ],
            metadata=self._metadata,
        )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Dictionaries and statistics of features would cost time and say nothing.
            self._parquet = pq.ParquetWriter(
                str(self._part.absolute()),
                schema,
                filesystem=pa_fs.LocalFileSystem(),  # or a colon would make a URI of the name
                use_dictionary=False,
                write_statistics=["image", "num_tokens", "width"],
            )
        except OSError as error:
            raise self._cannot_write(error) from error
        return self

    def write(self, image: str, features: Tensor) -> None:
        """Add one image's features, (tokens, width), on the CPU."""
        values = features.float().numpy().astype(self._dtype, copy=False)
        self._rows.append((image, values))
        self._num_bytes += values.nbytes
        if self._num_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def fail(self, error: ImageError) -> None:
        """Add one image that has no features."""
        try:
            if self._failures_file is None:
                self._failures_file = self._failures_part.open("w", encoding="utf-8")
            line = {"image": storable(error.name), "reason": storable(error.reason)}
            print(json.dumps(line, ensure_ascii=False), file=self._failures_file)
        except OSError as problem:
            raise self._cannot_write(problem) from problem
        self.num_failed += 1

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._rows:
            return
        arrays = [values for _, values in self._rows]
        ends = np.cumsum([0, *(values.size for values in arrays)], dtype=np.int32)
        columns = [
            pa.array([storable(image) for image, _ in self._rows], pa.string()),
            pa.array([values.shape[0] for values in arrays], pa.int32()),
            pa.array([values.shape[1] for values in arrays], pa.int32()),
            pa.ListArray.from_arrays(ends, np.concatenate([values.ravel() for values in arrays])),
        ]
        try:
            self._parquet.write_batch(pa.record_batch(columns, schema=self._parquet.schema))
        except OSError as error:
            raise self._cannot_write(error) from error
        self._rows, self._num_bytes = [], 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
            self._parquet.close()
            if self._failures_file is not None:
                self._failures_file.close()
            if kind is None and not self.overwrite:
                self._claim_names()
            if kind is None:
                self._publish()
        except OSError as problem:
            raise self._cannot_write(problem) from problem
        finally:
            if not self._kept:
                self._part.unlink(missing_ok=True)
                self._failures_part.unlink(missing_ok=True)

    def _claim_names(self) -> None:
        """Take the names for this job alone, by empty files that are replaced at once.

        Raises:
            VisionComposerError: If one of them is taken.
        """
        claimed: list[Path] = []
        for file in (self.path, self.failures) if self.num_failed else (self.path,):
            try:
                os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            except FileExistsError:
                self._kept = True
                for own in claimed:
                    own.unlink()
                failed = f", its failures in {self._failures_part}" if self.num_failed else ""
                raise VisionComposerError(
                    f"{file}: was made by someone else while this job ran, and is kept; the features of this "
                    f"job are complete in {self._part}{failed}"
                ) from None
            claimed.append(file)

    def _publish(self) -> None:
        self._part.replace(self.path)
        if self.num_failed:
            self._failures_part.replace(self.failures)
        elif self.overwrite and _is_failures_file(self.failures):
            self.failures.unlink()  # it belongs to the file that was replaced

    def _cannot_write(self, error: OSError) -> VisionComposerError:
        return VisionComposerError(f"{self.path}: cannot be written: {error.strerror or error}")


def storable(name: str) -> str:
    r"""Return a file name as text: bytes that are not UTF-8, surrogates in Python, become ``\udcff``."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def read_features(path: str | os.PathLike[str]) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Read a file of features, one row group in memory at a time.

    Args:
        path: A file that ``vision-composer encode`` wrote.

    Yields:
        An image's name, and its features (tokens, width), float32 or float16.

    Raises:
        InputError: If it is no such file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if METADATA_KEY not in (file.metadata.metadata or {}):
                raise InputError(f"{os.fspath(path)}: a Parquet file, but not of features")
            for i in range(file.num_row_groups):
                table = file.read_row_group(i)
                for image, tokens, width, row in zip(*table.columns, strict=True):
                    values = row.values.to_numpy(zero_copy_only=False)
                    yield image.as_py(), values.reshape(tokens.as_py(), width.as_py()).copy()
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{os.fspath(path)}: not a readable Parquet file: {error}") from error
