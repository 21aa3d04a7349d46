"""Holding to a lock file: its revisions stand in for those that a config asks for, its files are compared.

What a config is locked to is known for as long as it is composed. The readers of checkpoints ask :func:`held`
for it, which spares every function between them the argument.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..errors import LockError
from ..files import open_regular
from ..schemas import AnyConfig
from ..schemas.paths import display_name
from .lock_file import LOCK_NAME, LockedFile, LockedSource, read_lock
from .sources import Source, with_revisions

_CHUNK = 1 << 20
_MOST_BYTES = 1 << 50

Fetch = Callable[[str], Path | None]
"""File name -> path, or None where there is no such file."""


@dataclass(frozen=True)
class Lock:
    """What the configs beside a lock file are held to.

    Attributes:
        path: The lock file.
        config: The config's file.
        sources: What is locked.
    """

    path: Path
    config: Path
    sources: Mapping[tuple[str, str | None], LockedSource]

    def of(self, source: Source) -> LockedSource:
        """Return what a source of the config is locked to.

        Raises:
            LockError: If it is not in the lock file.
        """
        locked = self.sources.get((self.key(source.source), source.asked))
        if locked is None:
            others = [each for each in self.sources.values() if each.source == self.key(source.source)]
            found = " and ".join(f"at revision {each.asked or 'unpinned'}" for each in others)
            expected = f"{source.source} at revision {source.asked}" if source.asked else source.source
            what = f"holds it {found}, and the config asks for" if others else "does not hold"
            raise self.error(f"{what} {expected}")
        return locked

    def key(self, source: str) -> str:
        """Return a source as the lock file names it."""
        if not os.path.isabs(source):
            return source
        return Path(os.path.relpath(source, self.path.parent)).as_posix()

    def error(self, message: str) -> LockError:
        """Return an error that says how the lock is renewed."""
        renew = f"if this is meant, renew the lock: vision-composer lock {display_name(self.config)}"
        return LockError(f"{display_name(self.path)}: {message}; {renew}")


def lock_of(config: AnyConfig) -> Lock | None:
    """Return the lock of a config: the file beside the YAML file that it was loaded from; None if none is.

    Raises:
        LockError: If the lock file cannot be read.
    """
    file = config.file
    if file is None or not (path := file.parent / LOCK_NAME).exists():
        return None
    return Lock(path, file, {(each.source, each.asked): each for each in read_lock(path)})


def pinned(config: AnyConfig) -> AnyConfig:
    """Return a config at the commits of its lock; without a lock, as it is.

    Raises:
        LockError: If the lock cannot be read, or does not hold one of the config's sources.
    """
    lock = lock_of(config)
    if lock is None:
        return config
    return with_revisions(config, lambda source: lock.of(_asked(lock, source)).revision)


def _asked(lock: Lock, source: Source) -> Source:
    """Return a source as the config asked for it before it was pinned."""
    if source.asked is None or (lock.key(source.source), source.asked) in lock.sources:
        return source
    for locked in lock.sources.values():
        if (locked.source, locked.revision) == (lock.key(source.source), source.asked):
            return Source(source.source, locked.asked, source.file_format)
    return source


_HELD: ContextVar[Lock | None] = ContextVar("held", default=None)


@contextmanager
def holding(lock: Lock | None) -> Iterator[None]:
    """A context in which what is opened is held to a lock; None holds to nothing."""
    token = _HELD.set(lock)
    try:
        yield
    finally:
        _HELD.reset(token)


def held(fetch: Fetch, source: str, revision: str | None) -> Fetch:
    """Return ``fetch`` with every file compared with the lock that holds here; itself where none does.

    Args:
        fetch: Gets files of a source.
        source: A hub id or a path.
        revision: The revision that is read of a hub id.

    Raises:
        LockError: If the source is not locked; and from ``fetch``, if a file is not what the lock says.
    """
    lock = _HELD.get()
    if lock is None:
        return fetch
    path = os.path.abspath(os.path.expanduser(source))
    read = Source(path, None) if os.path.exists(path) else Source(source, revision)
    locked = lock.of(_asked(lock, read))

    def compared(name: str) -> Path | None:
        path = fetch(name)
        found = None if path is None else measured(path)
        compare(lock, f"{source}: {name}", found, locked.files.get(name))
        return path

    return compared


def compare(lock: Lock, name: str, found: LockedFile | None, expected: LockedFile | None) -> None:
    """Compare a file with what it is locked to; None stands for no such file.

    Raises:
        LockError: If it is not the same.
    """
    if found != expected:
        raise lock.error(f"{name}: expected {_said(expected)}, found {_said(found)}")


def measured(path: Path) -> LockedFile:
    """Return what a file is.

    Raises:
        LockError: If it cannot be read.
    """
    try:
        status = os.stat(path)
        digest = _sha256(os.path.realpath(path), status.st_size, status.st_mtime_ns, status.st_ino)
    except OSError as error:
        raise LockError(f"{path}: cannot be read: {error.strerror or error}") from None
    return LockedFile(sha256=digest, size=status.st_size)


@lru_cache(maxsize=4096)
def _sha256(path: str, size: int, changed: int, number: int) -> str:
    """Hash a file once for as long as it stays the same."""
    digest = hashlib.sha256()
    with open_regular(path, limit=_MOST_BYTES) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _said(file: LockedFile | None) -> str:
    return "no such file" if file is None else f"sha256 {file.sha256} ({file.size:,} bytes)"
