"""What a job can take images from, as rows: one module for each kind of input. Loads no torch."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from ...errors import ImageError, InputError
from ...images.decode import size_of_image
from . import files, lists, tables, tars, videos
from .files import Files
from .row import Content, Row

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "Content",
    "InputOptions",
    "Row",
    "check_options",
    "find_inputs",
    "list_rows",
    "load_row",
    "read_ahead",
]


_FILES = frozenset({".txt", ".csv", ".parquet", ".tar"}) | videos.EXTENSIONS
"""Extensions of files that are no images."""


@dataclass(frozen=True)
class InputOptions:
    """How inputs are read.

    Attributes:
        column: The column of a table that holds the images; None if its name tells.
        fps: Frames of a video a second.
        frames: Frames of a video in all; without either, every frame.
        clips: Whether a video is one row, a clip of these frames, and not a row for each.
    """

    column: str | None = None
    fps: float | None = None
    frames: int | None = None
    clips: bool = False


def find_inputs(inputs: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Return inputs with patterns resolved, after a first look at each.

    An input is an image, a folder of images, a pattern such as ``photos/*.jpg``, a text or CSV file that
    lists images, ``-`` for a list on standard input, a Parquet file, a tar archive, a dataset that Hugging
    Face's ``datasets`` saved to disk, or a video.

    Raises:
        InputError: If an input does not exist, or is none of these.
    """
    given = [os.fsdecode(source) for source in inputs]
    if not given:
        raise InputError("no images given")
    sources = [match for source in given for match in _matches(source)]
    missing = [source for source in sources if source != lists.STANDARD_INPUT and not os.path.exists(source)]
    if missing:
        more = f" (and {len(missing) - 1} more that do not exist)" if len(missing) > 1 else ""
        raise InputError(f"{missing[0]}: no such file or folder{more}")
    known = _FILES | files.image_extensions()
    for source in sources:
        if source == lists.STANDARD_INPUT or files.extension(source) in known or os.path.isdir(source):
            continue
        if size_of_image(source) is None:
            raise InputError(
                f"{source}: is neither an image nor a list (.txt, .csv), a table (.parquet), an archive "
                "(.tar) or a video"
            )
    return sources


def check_options(sources: Sequence[str], options: InputOptions) -> None:
    """Check that every option has an input that it is for.

    Args:
        sources: What :func:`find_inputs` returned.
        options: How inputs are read.

    Raises:
        InputError: If an option would be passed over; names it.
    """
    files_given = {files.extension(source) for source in sources if not os.path.isdir(source)}
    tables_given = files_given & {".csv", ".parquet"} or any(map(tables.is_dataset, sources))
    if options.column is not None and not tables_given:
        _refuse(["column"], "table", "'tables/*.parquet'")
    of_videos = {"fps": options.fps, "frames": options.frames, "clips": options.clips or None}
    given = [name for name, value in of_videos.items() if value is not None]
    if given and not files_given & videos.EXTENSIONS:
        _refuse(given, "video", "'clips/*.mp4'")


def _refuse(options: Sequence[str], kind: str, pattern: str) -> None:
    flags, names = (", ".join(prefix + name for name in options) for prefix in ("--", ""))
    raise InputError(
        f"no input is a {kind}: leave out {flags} (in Python {names}), "
        f"or name the {kind}s of a folder, such as {pattern}"
    )


def list_rows(sources: Sequence[str], options: InputOptions) -> Iterator[Row]:
    """Yield the images of inputs in an order that is the same every time.

    Args:
        sources: What :func:`find_inputs` returned.
        options: How inputs are read.

    Raises:
        InputError: If an input cannot be read, or there are no images.
    """
    images, found = Files(), False
    for source in sources:
        for row in _rows_of(source, options, images):
            found = True
            yield row
    if not found:
        raise InputError(f"no images in {', '.join(sources)}{_hint(sources)}")


def _matches(source: str) -> list[str]:
    if not glob.has_magic(source) or os.path.lexists(source):
        return [source]
    matches = sorted(glob.glob(source, recursive=True))
    if not matches:
        raise InputError(f"{source}: no file or folder matches")
    return matches


def _rows_of(source: str, options: InputOptions, images: Files) -> Iterator[Row]:
    kind = files.extension(source)
    if source == lists.STANDARD_INPUT:
        return lists.text_rows(source)
    if os.path.isdir(source):
        if tables.is_dataset(source):
            return tables.dataset_rows(source, options.column)
        return images.rows(source)
    if kind == ".txt":
        return lists.text_rows(source)
    if kind == ".csv":
        return lists.csv_rows(source, options.column)
    if kind == ".parquet":
        return tables.parquet_rows(source, options.column)
    if kind == ".tar":
        return tars.rows(source)
    if kind in videos.EXTENSIONS:
        return videos.rows(source, fps=options.fps, frames=options.frames, clip=options.clips)
    return images.rows(source)


def _hint(folders: Sequence[str]) -> str:
    """Say what to do about folders that hold no images, but tables or archives."""
    for folder in folders:
        for kind in ("*.parquet", "*.tar"):
            if os.path.isdir(folder) and glob.glob(os.path.join(glob.escape(folder), kind)):
                return f"; for the tables or archives in it, write {os.path.join(folder, kind)!r}"
    return ""


def read_ahead(rows: Iterable[Row]) -> Iterator[tuple[Row, Content | ImageError | None]]:
    """Yield rows with what they hold, where several are read best in one pass; otherwise with None."""
    for (kind, _), group in groupby(rows, key=lambda row: (row.kind, row.path)):
        if kind == tables.PARQUET:
            table = list(group)
            yield from zip(table, tables.read_parquet(table), strict=True)
        else:
            yield from ((row, None) for row in group)


_LOADERS: dict[str, Callable[[Row], Content | Image.Image | Iterator[Image.Image]]] = {
    files.KIND: files.load,
    tars.KIND: tars.load,
    tables.DATASET: tables.load,
    videos.KIND: videos.load,
    videos.CLIP: videos.load_clip,
}


def load_row(row: Row) -> Content | Image.Image | Iterator[Image.Image]:
    """Return the image of a row: a path, a file's bytes, or an image; of a clip an iterator over its frames.

    Raises:
        ImageError: If there is none, or it cannot be read; a clip's frames raise it, too.
    """
    if row.problem:
        raise ImageError(row.id, row.problem)
    try:
        return _LOADERS[row.kind](row)
    except OSError as error:
        raise ImageError(row.id, error.strerror or str(error)) from error
