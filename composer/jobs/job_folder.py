"""The folder of a job: who may work on it, which parts are left, and how a part gets there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, VisionComposerError
from .encoded import Failed
from .inputs import Row
from .parts import (
    RECORD_KEY,
    Part,
    PartRecord,
    failed_row,
    failures_file,
    features_folder,
    finished_parts,
    part_files,
    part_name,
)
from .plan import JobPlan, plan_file, read_plan, rows_file, rows_of_part
from .tensor_files import SafetensorsFile, VllmFile
from .unit import Unit
from .writers import BinaryFile, FeatureFile, ListFile


def make_folder(root: Path, *, overwrite: bool = False) -> None:
    """Make the folder of a job, or check that the one that is there may be used.

    Args:
        root: The folder.
        overwrite: Remove the job that is in it.

    Raises:
        InputError: If it holds something else than a job, or one to overwrite that a process works on.
        VisionComposerError: If it cannot be made.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        _check_others(root)
        if overwrite:
            _remove_job(root)
        features_folder(root).mkdir(exist_ok=True)
    except OSError as error:
        raise VisionComposerError(f"{root}: cannot be written: {error.strerror or error}") from error


def _check_others(root: Path) -> None:
    """Refuse a folder without a plan that has more in it than a run that was killed early leaves."""
    known = {rows_file(root), features_folder(root), failures_file(root)}
    others = [path for path in root.iterdir() if not path.name.startswith(".") and path not in known]
    others += features_folder(root).glob("part-*")
    if others and not plan_file(root).exists():  # in this order, since another shard may just be planning
        name = min(others).relative_to(root)
        raise InputError(f"{root}: is a folder of other files, such as {name}; choose another output")


def _remove_job(root: Path) -> None:
    """Remove a job that nobody works on; its plan after its parts, which without it would fit another job."""
    for lock in root.glob(".*.lock"):
        with locked(root, lock.name[1:].removesuffix(".lock")):
            pass
    parts = features_folder(root).glob("part-*")
    for path in (*parts, failures_file(root), plan_file(root), rows_file(root)):
        path.unlink(missing_ok=True)


@contextmanager
def locked(root: Path, name: str) -> Iterator[None]:
    """Hold a part of a job alone. The lock goes with the process, however that ends.

    Raises:
        InputError: If another process holds it.
        VisionComposerError: If the lock cannot be made.
    """
    import fcntl

    try:
        descriptor = os.open(root / f".{name}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise VisionComposerError(f"{root}: cannot be written: {error.strerror or error}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{root}: another process works on this job ({name}); wait, or stop it"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)


def kept_parts(root: Path) -> str:
    """Say how many parts of a job are complete."""
    try:
        plan = read_plan(root)
    except InputError:
        return "the job was not planned yet, and nothing is kept"
    return f"{len(finished_parts(root, plan)):,} of {plan.num_parts:,} parts are complete and kept"


@dataclass(frozen=True)
class PartTask:
    """What is to be done of a part.

    Attributes:
        part: Its number.
        before: What is there of it, to do only the images that failed; None to do all.
    """

    part: int
    before: Part | None = None


@dataclass(frozen=True)
class JobFolder:
    """A planned job.

    Attributes:
        root: Its folder.
        plan: Its plan.
    """

    root: Path
    plan: JobPlan

    def finished(self) -> dict[int, Part]:
        """Return the finished parts by number; as :func:`finished_parts`."""
        return finished_parts(self.root, self.plan)

    def unit_of(self, task: PartTask) -> Unit:
        """Return a part, or the images of it that failed before, as the pipeline runs them."""
        part, first = task.part, task.part * self.plan.part_size
        rows = rows_of_part(self.root, self.plan, part)
        if task.before is None:
            return self._unit(part, list(enumerate(rows, first)), 0)
        numbers = [failed.row for failed in task.before.failed if first <= failed.row < first + len(rows)]
        retry = 1 + max(
            again for number, again, _ in part_files(features_folder(self.root)) if number == part
        )
        return self._unit(part, [(number, rows[number - first]) for number in numbers], retry)

    def _unit(self, part: int, images: list[tuple[int, Row]], retry: int) -> Unit:
        path = features_folder(self.root) / part_name(part, retry)

        def close(file: FeatureFile, failures: list[Failed]) -> None:
            record = PartRecord(
                config_hash=self.plan.config_hash,
                inputs_hash=self.plan.inputs_hash,
                part=part,
                num_images=file.num_images,
                num_tokens=file.num_tokens,
                failed=[failed_row(failed) for failed in failures],
            )
            file.finish({RECORD_KEY: record.model_dump_json().encode()})
            if not retry:
                self._remove_retries(part)
            file.publish()

        return Unit(part, images, lambda: open_file(path, self.plan, len(images)), close)

    def _remove_retries(self, part: int) -> None:
        """Remove what retries of a part found; the whole part, done again, has it too."""
        for number, again, path in part_files(features_folder(self.root)):
            if number == part and again:
                path.unlink(missing_ok=True)
                path.with_suffix(".safetensors").unlink(missing_ok=True)


def open_file(path: Path, plan: JobPlan, num_images: int) -> FeatureFile:
    """Begin a file of a job's features, in the format of its plan."""
    facts: Mapping[str, Any] = {
        "version": plan.version,
        "config": plan.config,
        "output": plan.output.model_dump(),
    }
    if plan.output.format == "parquet-list":
        return ListFile(path, facts, half=plan.output.store_dtype == "float16")
    if plan.output.format == "safetensors":
        return SafetensorsFile(path, facts, num_images=num_images)
    if plan.output.format == "vllm-embeds":
        return VllmFile(path, facts, num_images=num_images, grids=plan.output.grids)
    return BinaryFile(path, facts)
