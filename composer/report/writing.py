"""Writes an inspection into a file, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ..errors import InputError
from .inspecting import Inspection
from .page import page


def write_report(inspection: Inspection, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write an inspection as one HTML file, which needs no other file and no network.

    The file gets its name when all of it is written.

    Args:
        inspection: What :func:`vision_composer.inspect_images` returned.
        path: The file; its folder must exist.
        overwrite: Replace a file that is there.

    Returns:
        The path.

    Raises:
        InputError: If the file is there, or cannot be written.
    """
    target = check_target(path, overwrite=overwrite)
    content = page(inspection).encode()
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.chmod(name, 0o666 & ~_umask())  # not for its owner alone, as temporary files are
            os.replace(name, target)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise InputError(f"{target}: cannot be written: {error.strerror}") from error
    return target


def check_target(path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Return where a report is to be written.

    Raises:
        InputError: If it is a folder, its own folder does not exist, or it exists and is not to be replaced.
    """
    target = Path(os.path.expanduser(path))
    if target.is_dir():
        raise InputError(f"{target}: is a folder; name a file, such as {target / 'report.html'}")
    if not target.parent.is_dir():
        raise InputError(f"{target.parent}: no such folder")
    if target.exists() and not overwrite:
        raise InputError(f"{target}: exists already; choose another name, or ask to overwrite it")
    return target


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
