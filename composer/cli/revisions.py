"""Configs of a git revision, laid out in a folder that can be compared with the files as they are now."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

from ..errors import InputError


def repository_of(folder: Path) -> Path:
    """Return the top folder of the git repository that a folder belongs to.

    Raises:
        InputError: If it belongs to none, or git is not installed.
    """
    return Path(os.fsdecode(_git(folder, "rev-parse", "--show-toplevel").rstrip(b"\n")))


def lay_out(repository: Path, revision: str, folder: Path) -> set[Path]:
    """Write every YAML file of a revision below a folder, where it stood in the repository.

    Returns:
        The files that were left out, because they are links that lead out of the repository.

    Raises:
        InputError: If there is no such revision.
    """
    if revision.startswith("-"):
        raise InputError(f"{revision!r} is not a revision")
    named = _git(repository, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", what=revision)
    commit = named.decode().strip()
    listed = _git(repository, "ls-tree", "-r", "-z", "--name-only", commit).split(b"\0")
    # A pattern that matches nothing is an error of git archive.
    kinds = [kind for kind in (".yaml", ".yml") if any(name.endswith(kind.encode()) for name in listed)]
    left_out: set[Path] = set()

    def inside(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        try:
            return tarfile.data_filter(member, path)
        except tarfile.FilterError:
            left_out.add(Path(member.name))
            return None

    if kinds:
        patterns = (f":(glob,top)**/*{kind}" for kind in kinds)
        archive = _git(repository, "archive", "--format=tar", commit, "--", *patterns)
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter=inside)
    return left_out


def _git(folder: Path, *arguments: str, what: str = "") -> bytes:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False)
    except FileNotFoundError:
        raise InputError("comparing with a revision needs git, which is not installed") from None
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
        raise InputError(f"git knows no revision {what!r} here" if what else f"git: {reason}")
    return done.stdout
