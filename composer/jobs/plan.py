"""The plan of a job: its images in parts, and the facts that must not change between runs. Loads no torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .._version import __version__
from ..errors import InputError, VisionComposerError
from ..files import read_json
from .encoded import storable
from .hidden import hidden, sync
from .inputs import Row

if TYPE_CHECKING:
    import pyarrow as pa

_HASH_KEY = b"vision_composer.inputs_hash"
PART_SIZE = 2048
"""Images of a part, unless asked for otherwise."""

Format = Literal["parquet", "parquet-list", "safetensors", "vllm-embeds"]
StoreDtype = Literal["float32", "float16", "bfloat16"]


class Output(BaseModel):
    """What the features of a job are stored as.

    Attributes:
        format: The files that hold them.
        store_dtype: The dtype of the stored numbers.
        pool: The pooler that they go through; ``none`` for all tokens.
        grids: For ``vllm-embeds``: whether the language model needs the images' grids.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Format = "parquet"
    store_dtype: StoreDtype
    pool: str = "none"
    grids: bool = False


class JobPlan(BaseModel):
    """The content of ``job.json``.

    Attributes:
        schema_version: The version of this format.
        version: The version of this package that planned the job.
        config: The encoder's config, with every value written out.
        config_hash: SHA-256 of the config and the output, in hexadecimal.
        weights_hash: SHA-256 of values taken from all over the encoder's parameters.
        output: What the features are stored as.
        inputs: The first hundred inputs, those that patterns match among them.
        inputs_hash: SHA-256 of the names and places of all images.
        num_rows: Images of the job.
        part_size: Images of a part; the last one may have fewer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1] = 1
    version: str = __version__
    config: dict[str, Any]
    config_hash: str
    weights_hash: str
    output: Output
    inputs: list[str]
    inputs_hash: str
    num_rows: int = Field(ge=1)
    part_size: int = Field(ge=1)

    @property
    def num_parts(self) -> int:
        """How many parts the job has."""
        return -(-self.num_rows // self.part_size)

    def size_of(self, part: int) -> int:
        """Count the images of a part."""
        return min(self.part_size, self.num_rows - part * self.part_size)


def hash_of(config: dict[str, Any], output: Output) -> str:
    """Return the hash of what decides the values of a job's features, apart from weights."""
    facts = json.dumps([config, output.model_dump()], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()


def plan_file(root: Path) -> Path:
    """Return where a job's plan is."""
    return root / "job.json"


def rows_file(root: Path) -> Path:
    """Return where a job's list of images is: Parquet, with a row group for every part."""
    return root / "rows.parquet"


def read_plan(root: Path) -> JobPlan:
    """Read the plan of a job.

    Raises:
        InputError: If there is none, or it is not what this version writes.
    """
    path = plan_file(root)
    try:
        return JobPlan.model_validate(read_json(path))
    except OSError as error:
        raise InputError(f"{root}: not the output of a job: {path.name}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: not a plan that this version reads: {where}: {first['msg']}") from error
    except ValueError as error:
        raise InputError(f"{path}: not a plan that this version reads: {error}") from error


def settle_plan(root: Path, rows: Iterable[Row], wanted: JobPlan) -> JobPlan:
    """Write the plan of a new job, or compare with the one that is there.

    Args:
        root: The folder of the job, which exists.
        rows: The images.
        wanted: The plan, without number and hash of the images.

    Returns:
        The plan that holds.

    Raises:
        InputError: If the folder holds another job.
        VisionComposerError: If it cannot be written.
    """
    if not plan_file(root).exists():
        return _compared(root, _write_plan(root, rows, wanted))
    number, digest = 0, hashlib.sha256()
    for some in _parts(rows, wanted):
        number += len(some)
        digest.update(_lines(some, _names(some)))
    return _compared(root, _counted(wanted, number, digest.hexdigest()))


def _counted(wanted: JobPlan, number: int, digest: str) -> JobPlan:
    return wanted.model_copy(update={"num_rows": number, "inputs_hash": digest})


def _compared(root: Path, wanted: JobPlan) -> JobPlan:
    there = read_plan(root)
    for same, what in (
        (there.config == wanted.config, "another config of the encoder"),
        (there.output == wanted.output, f"another output ({_described(there.output)})"),
        (there.config_hash == wanted.config_hash, "another config of the encoder"),
        (there.weights_hash == wanted.weights_hash, "other weights (random weights differ in every run)"),
        (
            there.num_rows == wanted.num_rows,
            f"other inputs: {there.num_rows:,} images, not {wanted.num_rows:,}",
        ),
        (there.inputs_hash == wanted.inputs_hash, "other inputs: as many images, but of other names"),
        (there.part_size == wanted.part_size, f"parts of {there.part_size:,} images"),
    ):
        if not same:
            raise InputError(
                f"{root}: holds a job with {what}; go on with what it was begun with, choose another output, "
                "or replace it with overwrite=True (on the command line --overwrite)"
            )
    return there


def _described(output: Output) -> str:
    return ", ".join(f"{name} {value}" for name, value in output.model_dump().items())


def _parts(rows: Iterable[Row], plan: JobPlan) -> Iterator[list[Row]]:
    left = iter(rows)
    while some := list(islice(left, plan.part_size)):
        yield some


def _names(rows: Sequence[Row]) -> tuple[list[bytes], list[bytes]]:
    """Return the ids and the paths of rows in bytes; those of image files are the same."""
    ids = [os.fsencode(row.id) for row in rows]
    return ids, [
        name if row.path == row.id else os.fsencode(row.path) for name, row in zip(ids, rows, strict=True)
    ]


def _lines(rows: Sequence[Row], names: tuple[list[bytes], list[bytes]]) -> bytes:
    """Return what tells rows from others, in bytes."""
    return b"".join(
        b"\0".join((name, path, row.column.encode(), repr(row.where).encode())) + b"\1"
        for name, path, row in zip(*names, rows, strict=True)
    )


def _write_plan(root: Path, rows: Iterable[Row], wanted: JobPlan) -> JobPlan:
    """Write the plan with the list of images, unless another run does so meanwhile; return it."""
    import pyarrow.parquet as pq

    digest, number = hashlib.sha256(), 0
    part = hidden(rows_file(root))
    try:
        with part.open("wb") as file:
            with pq.ParquetWriter(file, _schema()) as writer:
                for some in _parts(rows, wanted):
                    names = _names(some)
                    number += len(some)
                    digest.update(_lines(some, names))
                    writer.write_table(_stored(some, names), row_group_size=len(some))
                writer.add_key_value_metadata({_HASH_KEY: digest.hexdigest()})
            sync(file)
        plan = _counted(wanted, number, digest.hexdigest())
        if plan_file(root).exists():  # and its list of images must stay
            return plan
        part.replace(rows_file(root))
        with part.open("wb") as file:
            file.write(plan.model_dump_json(indent=1).encode())
            sync(file)
        try:
            os.link(part, plan_file(root))  # whoever comes second finds the plan of the first
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            part.replace(plan_file(root))
        return plan
    except OSError as error:
        raise VisionComposerError(f"{root}: cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema(
        [
            ("id", pa.binary()),
            ("source", pa.binary()),
            ("kind", pa.string()),
            ("path", pa.binary()),
            ("where", pa.list_(pa.int64())),
            ("column", pa.string()),
            ("problem", pa.string()),
        ]
    )


def _stored(rows: Sequence[Row], names: tuple[list[bytes], list[bytes]]) -> pa.Table:
    """Return rows as a table, column by column, which takes a third of the time that dictionaries do."""
    import pyarrow as pa

    ids, paths = names
    sources = {row.source: os.fsencode(row.source) for row in rows}
    stored = [
        ids,
        [sources[row.source] for row in rows],
        [row.kind for row in rows],
        paths,
        [row.where for row in rows],
        [row.column for row in rows],
        [storable(row.problem) for row in rows],
    ]
    return pa.table(stored, _schema())


def rows_of_part(root: Path, plan: JobPlan, part: int) -> list[Row]:
    """Return the images of a part.

    Raises:
        InputError: If the job's list of images is gone or broken.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(rows_file(root))
        listed_hash = (file.metadata.metadata or {}).get(_HASH_KEY, b"").decode()
        listed = file.read_row_group(part, columns=_schema().names).cast(_schema()).to_pylist()
    except (OSError, pa.ArrowException, IndexError) as error:
        raise InputError(f"{rows_file(root)}: the job's list of images cannot be read: {error}") from error
    if listed_hash != plan.inputs_hash or len(listed) != plan.size_of(part):
        raise InputError(f"{rows_file(root)}: is not the list of images of this job")
    return list(_rows(listed))


def _rows(listed: list[dict[str, Any]]) -> Iterator[Row]:
    for values in listed:
        yield Row(
            id=os.fsdecode(values["id"]),
            source=os.fsdecode(values["source"]),
            kind=values["kind"],
            path=os.fsdecode(values["path"]),
            where=tuple(values["where"]),
            column=values["column"],
            problem=values["problem"],
        )
