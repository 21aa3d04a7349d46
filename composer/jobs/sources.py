"""Which images to encode: files and folders on the command line, as a list of files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from PIL import Image

from ..errors import InputError
from ..images.decode import image_formats


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
    extensions = image_extensions()
    searched: set[str] = set()
    named: set[tuple[str, str]] = set()
    files: list[str] = []
    for source in given:
        if os.path.isdir(source):
            files.extend(_search(source, extensions, searched, named))
            continue
        folder, name = os.path.split(source)
        key = (os.path.realpath(folder), name)
        if key not in named and not (key[0] in searched and _extension(name) in extensions):
            named.add(key)
            files.append(source)
    if not files:
        raise InputError(f"no images in {', '.join(given)}" if given else "no images given")
    return files


def image_extensions() -> frozenset[str]:
    """Return the extensions, in lower case and with their dot, by which images in a folder are known."""
    formats = image_formats()
    return frozenset(
        extension for extension, name in Image.registered_extensions().items() if name in formats
    )


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _search(
    top: str, extensions: frozenset[str], searched: set[str], named: set[tuple[str, str]]
) -> Iterator[str]:
    """Find the images below ``top`` that were neither ``named`` nor lie in a folder ``searched`` before."""
    found: list[str] = []
    for folder, subfolders, names in os.walk(top, followlinks=True, onerror=_cannot_search):
        real = os.path.realpath(folder)
        if real in searched:
            subfolders.clear()  # a link back, or a folder given twice
            continue
        searched.add(real)
        subfolders.sort()
        images = (name for name in names if _extension(name) in extensions and (real, name) not in named)
        found.extend(os.path.join(folder, name) for name in images)
    return iter(sorted(found, key=lambda path: path.split(os.sep)))


def _cannot_search(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be searched: {error.strerror}") from error
