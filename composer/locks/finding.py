"""What sources of weights are now: local folders, the hub, or its cache where the hub cannot be reached."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LockError
from ..schemas.paths import is_weights_path, near_miss
from ..schemas.weights import is_commit
from .holding import measured
from .lock_file import LockedFile, LockedSource
from .names import may_be_read
from .sources import Source

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

_SECONDS = 10
"""How long the hub has for an answer."""


def found_source(source: Source, *, key: str, revision: str | None = None) -> LockedSource:
    """Find out what a source is now.

    Args:
        source: What a config names.
        key: What the lock file calls it.
        revision: The commit to look at; None for what the config asks for.

    Raises:
        LockError: If there is no such source, or none of its files can be read.
    """
    path = Path(os.path.expanduser(source.source))
    if path.exists():
        files = _local_files(path, source)
        commit = None
    elif is_weights_path(source.source):
        raise LockError(f"{source.source}: no such file or folder")
    else:
        commit, files = _hub_files(source, revision or source.asked)
    if not files:
        raise LockError(f"{source.source}: nothing to lock: no {source.file_format} file and no config.json")
    return LockedSource(source=key, asked=source.asked, revision=commit, files=files)


def _local_files(path: Path, source: Source) -> dict[str, LockedFile]:
    if path.is_dir():
        return _measured_in(path, source)
    beside = _measured_in(path.parent, source, weights=False)
    return {**beside, path.name: measured(path)}


def _measured_in(folder: Path, source: Source, *, weights: bool = True) -> dict[str, LockedFile]:
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    wanted = [name for name in names if may_be_read(name, source.file_format)]
    suffix = "bin" if source.file_format == "pickle" else "safetensors"
    if not weights:
        wanted = [name for name in wanted if not name.endswith((suffix, ".index.json"))]
    return {name: measured(folder / name) for name in wanted}


def _hub_files(source: Source, revision: str | None) -> tuple[str, dict[str, LockedFile]]:
    """Ask the hub, which knows the hashes of large files without a download; else look into its cache."""
    from huggingface_hub import HfApi, constants, hf_hub_download
    from huggingface_hub.errors import (
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repo = source.source
    try:
        if constants.HF_HUB_OFFLINE:
            return _cached_files(source, revision)
        info = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=_SECONDS)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        at = f" at revision {revision}" if revision else ""
        raise LockError(f"{repo}{near_miss(repo)}: the hub has no such repository{at}") from error
    except HFValidationError as error:
        raise LockError(f"{repo}: neither a file, a folder, nor a hub id: {error}") from error
    except (OSError, _http_error()):
        return _cached_files(source, revision)
    if info.sha is None:
        raise LockError(f"{repo}: the hub did not say which commit this is")
    commit = info.sha

    def of(sibling: RepoSibling) -> LockedFile:
        if sibling.lfs is not None and sibling.size is not None:
            return LockedFile(sha256=sibling.lfs.sha256, size=sibling.size)
        return measured(Path(hf_hub_download(repo, sibling.rfilename, revision=commit)))

    siblings = [each for each in info.siblings or () if may_be_read(each.rfilename, source.file_format)]
    return commit, {sibling.rfilename: of(sibling) for sibling in siblings}


def _cached_files(source: Source, revision: str | None) -> tuple[str, dict[str, LockedFile]]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    repo = source.source
    at = f" at revision {revision}" if revision else ""
    try:
        folder = Path(snapshot_download(repo, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError as error:
        message = f"not in the local cache{at}, and the hub cannot be reached"
        raise LockError(f"{repo}{near_miss(repo)}: {message}") from error
    except HFValidationError as error:
        raise LockError(f"{repo}: neither a file, a folder, nor a hub id: {error}") from error
    if not is_commit(folder.name):
        raise LockError(f"{repo}: {folder} is not the folder of a commit")
    return folder.name, _measured_in(folder, source)


def _http_error() -> type[Exception]:
    """Return what the hub's client raises of its HTTP library, which another release may change."""
    from huggingface_hub.errors import HfHubHTTPError

    base = HfHubHTTPError.__bases__[0]
    assert issubclass(base, Exception)
    return base
