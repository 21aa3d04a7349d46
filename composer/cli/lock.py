"""``vision-composer lock``: the commits and files of configs' sources, for compose to hold to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .files import Paths, count, files_of
from .options import Plugins, Root
from .output import echo

if TYPE_CHECKING:
    from ..locks.holding import Lock
    from ..locks.lock_file import LockedSource
    from ..locks.sources import Source


def lock(
    paths: Paths,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 if a lock does not hold.")
    ] = False,
    root: Root = None,
    plugin: Plugins = None,
) -> None:
    """Write vision-composer.lock beside configs: the commits and files of their weights.

    compose holds to it: it reads the commits that are locked, and refuses a file that is another. Asks the
    hub, or looks into its cache where the hub cannot be reached. Entries of other configs stay.

    Exit status: 0 if all is locked, 1 if not, 2 for no config to look at.
    """
    from ..errors import LockError
    from ..locks.sources import sources_of
    from ..presets import load_config

    by_folder: dict[Path, dict[Source, Path]] = {}
    for file in files_of(paths):
        if file is None:
            raise typer.BadParameter("a config on stdin has no folder for a lock", param_hint="PATHS")
        for source in sources_of(load_config(file, root=root)):
            by_folder.setdefault(file.absolute().parent, {}).setdefault(source, file)
    if not by_folder:
        raise LockError("nothing to lock: no config here names a source of weights")
    failed = False
    for folder, sources in by_folder.items():
        failed |= not (_holds if check else _write)(folder, sources)
    raise typer.Exit(1 if failed else 0)


def _write(folder: Path, sources: dict[Source, Path]) -> bool:
    from ..locks.finding import found_source
    from ..locks.lock_file import write_lock
    from ..schemas.paths import display_name

    lock = _lock(folder, next(iter(sources.values())))
    known = dict(lock.sources)
    for source in sources:
        found = found_source(source, key=lock.key(source.source))
        known[found.source, found.asked] = _together(found, known.get((found.source, found.asked)), sources)
    write_lock(lock.path, known.values())
    files = sum(len(locked.files) for locked in known.values())
    echo(f"{display_name(lock.path)}: {count(len(known), 'source')}, {count(files, 'file')}")
    return True


def _together(found: LockedSource, before: LockedSource | None, sources: Iterable[Source]) -> LockedSource:
    """Join what two formats of one checkpoint have, which are two sources and one entry."""
    formats = {source.file_format for source in sources if source.asked == found.asked}
    if before is None or len(formats) == 1 or before.revision != found.revision:
        return found
    return replace(found, files={**before.files, **found.files})


def _holds(folder: Path, sources: dict[Source, Path]) -> bool:
    """Print what the lock of a folder does not hold to, and return whether it holds."""
    from ..errors import LockError
    from ..locks.finding import found_source
    from ..schemas.paths import display_name

    lock = _lock(folder, next(iter(sources.values())))
    failed = compared = 0
    for source, file in sources.items():
        here = replace(lock, config=file)
        try:
            locked = here.of(source)
            found = found_source(source, key=locked.source, revision=locked.revision)
            compared += _compared(here, locked, found)
        except LockError as error:
            failed += 1
            echo(str(error), err=True)
    counts = [count(len(sources), "source"), f"{count(compared, 'file')} compared", count(failed, "problem")]
    echo(f"{display_name(lock.path)}: {', '.join(counts)}", err=True)
    return not failed


def _compared(lock: Lock, locked: LockedSource, found: LockedSource) -> int:
    """Count the files that are as they are locked; of a hub's cache, those that it has.

    Raises:
        LockError: If one is not.
    """
    from ..locks.holding import compare

    local = locked.revision is None
    names = found.files.keys() | (locked.files.keys() if local else set())
    for name in sorted(names):
        compare(lock, f"{locked.source}: {name}", found.files.get(name), locked.files.get(name))
    return len(names)


def _lock(folder: Path, config: Path) -> Lock:
    from ..locks.holding import Lock
    from ..locks.lock_file import LOCK_NAME, read_lock

    path = folder / LOCK_NAME
    known = read_lock(path) if path.exists() else []
    return Lock(path, config, {(each.source, each.asked): each for each in known})
