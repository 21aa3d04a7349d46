"""One Parquet file instead of the folder of a job: quick to begin and to hand on, but not resumed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..errors import ImageError, InputError, VisionComposerError
from ..files import open_regular
from .encoded import Encoded, Failed, storable
from .hidden import hidden
from .inputs import InputOptions, find_inputs, list_rows
from .inputs.files import Files
from .plan import Output
from .unit import Unit
from .writers import BinaryFile, FeatureFile

if TYPE_CHECKING:
    from ..vision_encoder import VisionEncoder

_MOST_BYTES = 2**20
"""More than a line of a list of failures ever has."""


@dataclass(frozen=True)
class EncodeSummary:
    """What was done.

    Attributes:
        output: The Parquet file, or the folder of a job.
        failures: The list of images that failed; None when none did.
        num_images: Images encoded, in this run and those before it.
        num_failed: Images that could not be read or encoded.
        num_tokens: Tokens of all encoded images together.
        width: Features per token.
        seconds: Wall time of this run, from the first image read to the last file complete.
    """

    output: Path
    failures: Path | None
    num_images: int
    num_failed: int
    num_tokens: int
    width: int
    seconds: float


def expand_sources(sources: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Return the image files that ``sources`` name, each once, in order.

    A file is taken whatever its name. A folder is searched to any depth for the extensions of the formats
    that can be read, upper or lower case, and gives its files sorted by path; links to folders are followed
    once.

    Args:
        sources: Files and folders.

    Returns:
        Paths, beginning as the source that they come from was written.

    Raises:
        InputError: If a path does not exist, a folder cannot be read, or there is no image at all.
    """
    given = [os.fsdecode(source) for source in sources]
    missing = [source for source in given if not os.path.exists(source)]
    if missing:
        more = f" (and {len(missing) - 1} more that do not exist)" if len(missing) > 1 else ""
        raise InputError(f"{missing[0]}: no such file or folder{more}")
    files = Files()
    paths = [path for source in given for path in files.paths(source)]
    if not paths:
        raise InputError(f"no images in {', '.join(given)}" if given else "no images given")
    return paths


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
    for file in (path, failures_of(path)):
        if os.path.lexists(file) and not overwrite:  # a link that leads nowhere is somebody's, too
            raise InputError(
                f"{file}: exists; choose another output, or allow it to be replaced with overwrite=True "
                "(on the command line --overwrite)"
            )
    if os.path.lexists(failures_of(path)) and not _is_list_of_failures(failures_of(path)):
        raise InputError(
            f"{failures_of(path)}: stands where the images that fail would be listed, and is no such list; "
            "move it, or choose another output"
        )
    return path


def failures_of(path: Path) -> Path:
    """Return where the images that failed are listed beside a Parquet file."""
    return path.with_name(f"{path.stem}.failed.jsonl")


def _is_list_of_failures(path: Path) -> bool:
    try:
        with open_regular(path, limit=sys.maxsize) as file:
            line = json.loads(file.readline(_MOST_BYTES))
            return isinstance(line, dict) and line.keys() == {"image", "reason"}
    except (OSError, ValueError, RecursionError):
        return False


def encode_images(
    encoder: VisionEncoder,
    sources: Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    batch_size: int = 8,
    workers: int | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int, ImageError | None], None] | None = None,
) -> EncodeSummary:
    """Encode images into one Parquet file; its rows are those of a job's files.

    An image that cannot be read, or whose features are NaN or infinite, is listed in ``NAME.failed.jsonl``
    and passed over. Rows stand in the order of the sources. The file appears when it is complete, so an
    interrupted run leaves nothing behind under its name, and begins anew. :func:`encode_dataset` goes on.

    Args:
        encoder: A composed encoder.
        sources: Inputs as :func:`encode_dataset` takes them.
        output: A ``.parquet`` file, or a folder to put ``features.parquet`` in.
        batch_size: Images per forward. Images of different sizes share one only if the
            encoder packs them.
        workers: Processes that prepare images; 0 for threads of this one. Default: as many as there are
            cores, or none for a few images.
        overwrite: Replace an output that exists, and its list of failures. Otherwise a file that somebody
            makes before the end is kept, and the error says where the features are.
        on_progress: Called after every image with the number of images done, that of all images, and the
            image's error if it failed.

    Raises:
        InputError: If a source is missing, there are no images, the output exists, or ``batch_size`` is below
            1.
        VisionComposerError: If the output cannot be written, or a batch does not fit in memory.
    """
    from .local import Running, local_engine
    from .progress import Progress

    running = Running(workers=workers, batch_size=batch_size)
    check_encoder(encoder)
    given = find_inputs(sources)
    path = output_file(output, overwrite=overwrite)
    kept = Output(store_dtype=encoder.plan.dtype)  # type: ignore[arg-type]  # the config allows no other
    facts = {"version": __version__, "config": encoder.config.resolved(), "output": kept.model_dump()}
    rows = list(list_rows(given, InputOptions()))
    file = SingleFile(path, overwrite=overwrite)
    done = 0

    def report(progress: Progress, results: Sequence[Encoded | Failed]) -> None:
        nonlocal done
        for result in results:
            done += 1
            if on_progress is not None:
                error = ImageError(result.id, result.reason) if isinstance(result, Failed) else None
                on_progress(done, len(rows), error)

    unit = Unit(0, list(enumerate(rows)), lambda: file.open(facts), file.close)
    with local_engine(encoder, kept, running, len(rows)) as engine:
        progress = engine.run([unit], len(rows), report)
    return EncodeSummary(
        output=file.path,
        failures=file.failures if progress.num_failed else None,
        num_images=progress.num_done - progress.num_failed,
        num_failed=progress.num_failed,
        num_tokens=progress.num_tokens,
        width=encoder.plan.output_width,
        seconds=progress.seconds,
    )


def check_encoder(encoder: VisionEncoder) -> None:
    """Refuse an encoder whose features make no table.

    Raises:
        InputError: If it is spread over processes, DeepStack levels are on an axis of their own, or its
            channels are not colours.
    """
    encoder.preprocessor.reader.check_channels()
    if encoder.parallel is not None:
        raise InputError(
            "a tower that is spread over processes would write every file once on each: compose it with "
            "parallel: none, and give every process a shard of the job"
        )
    if encoder.plan.separate_levels:
        raise InputError(
            "a file of features has one width: use deepstack: concat or none instead of separate"
        )


class SingleFile:
    """The names of a Parquet file and of its list of failures, taken when both are complete.

    Args:
        path: The Parquet file.
        overwrite: Replace files of these names.

    Raises:
        VisionComposerError: If their folder cannot be made.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self.path = path
        self.failures = failures_of(path)
        self.overwrite = overwrite

        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._cannot_write(error) from error

    def open(self, facts: Mapping[str, Any]) -> FeatureFile:
        """Begin the file.

        Raises:
            VisionComposerError: If it cannot be written.
        """
        return BinaryFile(self.path, facts)

    def close(self, file: FeatureFile, failures: Sequence[Failed]) -> None:
        """Finish the file and its list of failures, and give them their names.

        Raises:
            VisionComposerError: If they cannot be written, or somebody took one of the names; what was
                written then stays under another name, which the error gives.
        """
        file.finish()
        listed = hidden(self.failures)
        try:
            if failures:
                with listed.open("w", encoding="utf-8") as lines:
                    for failed in failures:
                        line = {"image": storable(failed.id), "reason": storable(failed.reason)}
                        print(json.dumps(line, ensure_ascii=False), file=lines)
            if not self.overwrite:
                self._claim_names(file, listed if failures else None)
            file.publish()
            if failures:
                listed.replace(self.failures)
            elif self.overwrite and _is_list_of_failures(self.failures):
                self.failures.unlink()  # it belongs to the file that was replaced
        except OSError as error:
            raise self._cannot_write(error) from error
        finally:
            if not file.kept:
                listed.unlink(missing_ok=True)

    def _claim_names(self, file: FeatureFile, listed: Path | None) -> None:
        """Take the names for this job alone, by empty files that are replaced at once."""
        claimed: list[Path] = []
        for name in (self.path, self.failures) if listed else (self.path,):
            try:
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            except FileExistsError:
                file.kept = True
                for own in claimed:
                    own.unlink()
                failed = f", its failures in {listed}" if listed else ""
                raise VisionComposerError(
                    f"{name}: was made by someone else while this job ran, and is kept; the features of this "
                    f"job are complete in {file.part}{failed}"
                ) from None
            claimed.append(name)

    def _cannot_write(self, error: OSError) -> VisionComposerError:
        return VisionComposerError(f"{self.path}: cannot be written: {error.strerror or error}")
