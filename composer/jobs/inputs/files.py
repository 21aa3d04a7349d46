"""Image files, and folders of them that are searched to any depth."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache

from PIL import Image

from ...errors import InputError
from ...images.decode import image_formats
from .row import Row

KIND = "file"


def image_extensions() -> frozenset[str]:
    """Return the extensions, in lower case and with their dot, by which images in a folder are known."""
    formats = image_formats()
    return frozenset(
        extension for extension, name in Image.registered_extensions().items() if name in formats
    )


def extension(name: str) -> str:
    """Return a file name's extension in lower case, with its dot."""
    return os.path.splitext(name)[1].lower()


class Files:
    """Files and folders of images, each image once, however often it is named."""

    def __init__(self) -> None:
        self._extensions = image_extensions()
        self._searched: set[str] = set()
        self._named: set[tuple[str, str]] = set()
        self._realpath = lru_cache(os.path.realpath)  # a pattern names many files of a folder

    def rows(self, source: str) -> Iterator[Row]:
        """Yield the image of a file, or those of a folder, in the order of their paths, as rows."""
        for path in self.paths(source):
            yield Row(path, source, KIND, path)

    def paths(self, source: str) -> Iterator[str]:
        """Yield the paths of a file, or of a folder's images; they begin as ``source`` is written.

        A file is taken whatever its name. In a folder, images are known by their extensions, upper or lower
        case; links to folders are followed once.

        Raises:
            InputError: If a folder cannot be read.
        """
        if os.path.isdir(source):
            yield from self._search(source)
            return
        folder, name = os.path.split(source)
        key = (self._realpath(folder), name)
        if key not in self._named and not (key[0] in self._searched and extension(name) in self._extensions):
            self._named.add(key)
            yield source

    def _search(self, top: str) -> Iterator[str]:
        """Yield the images below ``top`` that were neither named nor lie in a folder searched before."""
        folders = [self._opened(top)]  # a stack: nothing limits how deep folders are
        while folders:
            folder, real, entries = folders[-1]
            for name, is_folder in entries:
                path = os.path.join(folder, name)
                if is_folder:
                    folders.append(self._opened(path))
                    break
                if (real, name) not in self._named:
                    yield path
            else:
                folders.pop()

    def _opened(self, folder: str) -> tuple[str, str, Iterator[tuple[str, bool]]]:
        """Return a folder, where it is, and its entries: none if it was searched before."""
        real = os.path.realpath(folder)
        if real in self._searched:  # a link back, or a folder given twice
            return folder, real, iter(())
        self._searched.add(real)
        return folder, real, self._entries(folder)

    def _entries(self, folder: str) -> Iterator[tuple[str, bool]]:
        """Return a folder's subfolders and images, sorted by name; their names alone are held in memory."""
        names: list[str] = []
        folders: set[str] = set()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if _is_folder(entry):
                        folders.add(entry.name)
                    elif extension(entry.name) not in self._extensions:
                        continue
                    names.append(entry.name)
        except OSError as error:
            raise InputError(f"{error.filename}: cannot be searched: {error.strerror}") from error
        return ((name, name in folders) for name in sorted(names))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def load(row: Row) -> str:
    """Return where the image is."""
    return row.path
