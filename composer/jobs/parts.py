"""The finished parts of a job: what each says about itself, and which images failed. Loads no torch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import InputError, VisionComposerError
from .encoded import Failed, storable
from .hidden import LEFTOVERS, hidden
from .plan import JobPlan

RECORD_KEY = b"vision_composer.part"
_NAME = re.compile(r"part-(\d{5,})(?:-retry-(\d+))?\.parquet")


class FailedRow(BaseModel):
    """An image of a part that has no features."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    row: int
    id: str
    source: str
    reason: str


class PartRecord(BaseModel):
    """What a part says about itself, in the metadata of its Parquet file.

    Attributes:
        config_hash: That of the job's plan.
        inputs_hash: That of the job's plan.
        part: Its number.
        num_images: Images that have features here.
        num_tokens: Their tokens.
        failed: Images of the part that have none, neither here nor in an earlier file of the part.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    config_hash: str
    inputs_hash: str
    part: int
    num_images: int
    num_tokens: int
    failed: list[FailedRow]


@dataclass(frozen=True)
class Part:
    """A finished part.

    Attributes:
        number: Its number.
        files: Its Parquet files: the first run's, then those of retries.
        num_images: Images that have features.
        num_tokens: Their tokens.
        failed: Images that have none.
    """

    number: int
    files: tuple[Path, ...]
    num_images: int
    num_tokens: int
    failed: tuple[FailedRow, ...]


def features_folder(root: Path) -> Path:
    """Return the folder of the features of a job."""
    return root / "features"


def part_name(part: int, retry: int = 0) -> str:
    """Return the name of a part's Parquet file; files beside it have the same stem."""
    return f"part-{part:05d}" + (f"-retry-{retry}" if retry else "") + ".parquet"


def part_files(folder: Path) -> list[tuple[int, int, Path]]:
    """Return the number, the retry and the path of every part's file, in the order of the images."""
    try:
        names = [entry.name for entry in os.scandir(folder)]
    except FileNotFoundError:
        return []
    found = ((match, folder / name) for name in names if (match := _NAME.fullmatch(name)))
    return sorted((int(match[1]), int(match[2] or 0), path) for match, path in found)


def read_record(path: Path) -> PartRecord | None:
    """Return what a part says about itself; None if it is not a whole part."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(path).metadata or {}
        return PartRecord.model_validate_json(metadata.get(RECORD_KEY, b""))
    except (OSError, pa.ArrowException, ValidationError):
        return None


def finished_parts(root: Path, plan: JobPlan) -> dict[int, Part]:
    """Return the finished parts of a job by number.

    Raises:
        InputError: If the folder holds a part of another job.
    """
    finished: dict[int, Part] = {}
    for number, retry, path in part_files(features_folder(root)):
        record = read_record(path)
        if record is None:  # cut short by a machine that lost power: it will be made again
            continue
        hashes = (record.config_hash, record.inputs_hash, record.part)
        if hashes != (plan.config_hash, plan.inputs_hash, number) or number >= plan.num_parts:
            raise InputError(f"{path}: is a part of another job; move it away")
        before = finished.get(number)
        if (before is None) != (retry == 0):
            continue  # a retry of a part that is not there
        finished[number] = Part(
            number=number,
            files=(*(before.files if before else ()), path),
            num_images=record.num_images + (before.num_images if before else 0),
            num_tokens=record.num_tokens + (before.num_tokens if before else 0),
            failed=tuple(record.failed),
        )
    return finished


def remove_leftovers(root: Path) -> None:
    """Remove what a run that was killed left behind; nobody else may be working on the job."""
    for folder in (root, features_folder(root)):
        for path in folder.glob(LEFTOVERS):
            path.unlink(missing_ok=True)


def failures_file(root: Path) -> Path:
    """Return where the images that failed are listed."""
    return root / "failures.parquet"


def write_failures(root: Path, finished: dict[int, Part]) -> int:
    """List the images that failed in ``failures.parquet``, or remove it if there are none.

    Returns:
        How many there are.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [row.model_dump() for number in sorted(finished) for row in finished[number].failed]
    path = failures_file(root)
    part = hidden(path)
    types = [("row", pa.int64()), ("id", pa.string()), ("source", pa.string()), ("reason", pa.string())]
    try:
        if rows:
            with part.open("wb") as file:
                pq.write_table(pa.Table.from_pylist(rows, pa.schema(types)), file)
            part.replace(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise VisionComposerError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return len(rows)


def failed_row(failed: Failed) -> FailedRow:
    """Return a failure as it is stored."""
    return FailedRow(
        row=failed.row,
        id=storable(failed.id),
        source=storable(failed.source),
        reason=storable(failed.reason),
    )


def iter_files(root: Path) -> Iterator[Path]:
    """Yield the Parquet files of a job that are whole, in the order of the images."""
    for _, _, path in part_files(features_folder(root)):
        if read_record(path) is not None:
            yield path
