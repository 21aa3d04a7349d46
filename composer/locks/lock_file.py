"""The lock file as text: read with the position of what is wrong in it, and written sorted, in one piece."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import ConfigError, LockError
from ..schemas import load_yaml
from ..schemas.paths import display_name
from ..schemas.yaml.nodes import MAX_BYTES, dotted, find
from ..schemas.yaml.reading import read_bytes

LOCK_NAME = "vision-composer.lock"
"""What the file is called; it lies beside the configs that it is for."""
_HEAD = "# Written by `vision-composer lock`; compose holds to it. Run the command again to change it.\n"
_ANEW = "remove the file and write it anew with `vision-composer lock`"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LockedFile(_Model):
    """What a file was."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]
    """Bytes."""


@dataclass(frozen=True)
class LockedSource:
    """A source of weights as it was.

    Attributes:
        source: A hub id; or a path, relative to the lock file's folder.
        asked: The branch, tag or commit that configs ask for; None for the hub's default, and for a path.
        revision: The commit that it was; None for a path.
        files: Name in the source's folder -> what the file was.
    """

    source: str
    asked: str | None
    revision: str | None
    files: Mapping[str, LockedFile]


class _File(LockedFile):
    name: Annotated[str, Field(min_length=1)]


class _Source(_Model):
    source: Annotated[str, Field(min_length=1)]
    asked: str | None
    revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None
    files: Annotated[list[_File], Field(min_length=1)]

    def locked(self) -> LockedSource:
        files = {file.name: LockedFile(sha256=file.sha256, size=file.size) for file in self.files}
        return LockedSource(self.source, self.asked, self.revision, files)


class _Lock(_Model):
    version: Annotated[int, Field(ge=1, le=1)]
    sources: list[_Source]


def read_lock(path: Path) -> list[LockedSource]:
    """Read a lock file.

    Raises:
        LockError: If it cannot be read, or does not hold what a lock file does; says where.
    """
    name = display_name(path)
    try:
        content = read_bytes(path, name)
        if not content.strip():
            raise LockError(f"{name}:1:1: the lock file is empty; {_ANEW}")
        tree = load_yaml(content, name)
    except ConfigError as error:
        raise LockError(f"{error.problems[0].render()}\n{_ANEW}") from None
    try:
        return [each.locked() for each in _Lock.model_validate(tree.plain()).sources]
    except ValidationError as error:
        line = error.errors(include_url=False)[0]
        node, _ = find(tree, line["loc"])
        place = node.key or node.place
        where = place.span if place else name
        message = line["msg"].removeprefix("Input ")
        raise LockError(f"{where}: {dotted(line['loc'])}: {message}; {_ANEW}") from None


def lock_text(sources: Iterable[LockedSource]) -> str:
    """Return the text of a lock file: the same for the same sources, in whatever order they come."""
    lines = [_HEAD, "version: 1\n", "sources:\n"]
    for locked in sorted(sources, key=lambda each: (each.source, each.asked or "")):
        lines.append(f"  - source: {json.dumps(locked.source)}\n")
        lines.append(f"    asked: {json.dumps(locked.asked)}\n")
        lines.append(f"    revision: {json.dumps(locked.revision)}\n")
        lines.append("    files:\n")
        for name, file in sorted(locked.files.items()):
            what = f'{{name: {json.dumps(name)}, sha256: "{file.sha256}", size: {file.size}}}'
            lines.append(f"      - {what}\n")
    return "".join(lines)


def write_lock(path: Path, sources: Iterable[LockedSource]) -> None:
    """Write a lock file: all of it or, when something goes wrong, nothing.

    Raises:
        LockError: If it would be larger than :func:`read_lock` takes.
        OSError: If it cannot be written.
    """
    content = lock_text(sources).encode()
    if len(content) > MAX_BYTES:
        raise LockError(f"{path}: more than {MAX_BYTES >> 20} MiB; keep the configs in several folders")
    part = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as new:
            part = Path(new.name)
            new.write(content)
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)
        part.replace(path)
    except OSError:
        if part is not None:
            part.unlink(missing_ok=True)
        raise
