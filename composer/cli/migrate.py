"""``vision-composer migrate``: config files brought to the current version of the format."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .files import Paths, count, files_of, read_stdin
from .options import Root
from .output import echo

if TYPE_CHECKING:
    from ..schemas.yaml.nodes import Node


def migrate(
    paths: Paths,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; name the files that would be rewritten.")
    ] = False,
    root: Root = None,
) -> None:
    """Rewrite configs of an older version, or of none, as the current one; comments and layout stay.

    Current files are left as they are, to the byte; one that names no version has that of the files that it
    extends. The text on stdin is printed. Needs the extra:
    pip install 'vision-composer[migrate]' (--check does not).

    Exit status: 0 if every file is current now, 1 if one cannot be migrated (with --check, if one is not
    current), 2 for no config to look at.
    """
    from ..errors import ConfigError

    files = files_of(paths)
    rewritten = problems = 0
    for file in files:
        try:
            rewritten += _migrate(file, check, root)
        except ConfigError as error:
            echo(str(error), err=True)
            problems += len(error.problems)
    counts = [count(len(files), "file"), f"{rewritten} {'to rewrite' if check else 'rewritten'}"]
    echo(", ".join([*counts, count(problems, "problem")]), err=True)
    raise typer.Exit(1 if problems or (check and rewritten) else 0)


def _migrate(file: Path | None, check: bool, root: Path | None) -> bool:
    """Rewrite a file, or print stdin, if it is not current; return whether it was not."""
    from ..presets import preset_path
    from ..schemas.paths import display_name
    from ..schemas.yaml.extends import Layers
    from ..schemas.yaml.migrations import is_current, migrated
    from ..schemas.yaml.reading import read_bytes

    name = "<stdin>" if file is None else display_name(file)
    content = read_stdin() if file is None else read_bytes(file, name)
    folder = Path.cwd() if file is None else file.absolute().parent
    trail = () if file is None else (os.path.realpath(file),)

    def inherits(tree: Node) -> Node:
        return Layers(preset_path, root).merged(tree, folder, trail)

    current = is_current(content, name, inherits)
    if check:
        if not current:
            echo(f"would rewrite {name}")
    elif file is None:
        echo(content if current else migrated(content, name, inherits), nl=False)
    elif not current:
        _replace(file, migrated(content, name, inherits), name)
        echo(f"rewrote {name}")
    return not current


def _replace(file: Path, content: bytes, name: str) -> None:
    """Write ``content`` in place of the file's: all of it or, when something goes wrong, nothing."""
    from ..errors import ConfigError, Problem, Span

    target = Path(os.path.realpath(file))  # a link stays one
    part = None
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as new:
            part = Path(new.name)
            new.write(content)
        shutil.copymode(target, part)
        part.replace(target)
    except OSError as error:
        if part is not None:
            part.unlink(missing_ok=True)
        message = f"cannot be written: {error.strerror or error}"
        raise ConfigError(Problem("VC001", message, span=Span(name))) from None
