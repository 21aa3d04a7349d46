"""Where a checkpoint's files are: a file, a folder, or a hub id. Reads names and shapes, not weights."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from ..errors import WeightsError
from ..files import exists, read_json
from ..images.settings import PROCESSOR_FILES
from ..locks.holding import Fetch, held
from ..locks.names import ADAPTER_CONFIG, SMALL
from ..schemas.paths import is_weights_path, near_miss
from ..text import shortened
from .header import Format, TensorHeader
from .pickled import pickled_headers, read_pickled
from .safetensors_file import read_safetensor, safetensors_headers

if TYPE_CHECKING:
    from torch import Tensor

    from .staging import Staging

_SINGLE: dict[Format, str] = {"safetensors": "model.safetensors", "pickle": "pytorch_model.bin"}
_OPEN_CLIP: dict[Format, str] = {
    "safetensors": "open_clip_model.safetensors",
    "pickle": "open_clip_pytorch_model.bin",
}
"""What open_clip calls its file; in a folder, a file may have any name."""
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_PICKLE_HINT = "to read it with torch's weights-only unpickler, set weights.format: pickle"
_INDEX_BYTES = 48 << 20
_INDEX_VALUES = 250_000
_INDEX_FILES = 10_000
"""The index of a model of 1,000 billion parameters names 210,000 tensors in 64 files, and has 24 MB."""
_FOLDER_TENSORS = 10_000
"""Tensors in the weight files of a folder without an index: all headers are read to find their names."""
_NAME_BYTES = 255
"""Longest name that file systems give to a file."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose tensors are named but not read.

    Attributes:
        label: How the user named it; for messages.
        files: Tensor name -> file name, as the index or the files themselves say.
        fetch: File name -> path, or None where there is no such file; downloads a hub's file on first use.
        file_format: What the files are read as, whatever they are called.
        known: File name -> what that file says of its tensors, as far as it was read to find their names.
        is_file: Whether the user named a file, and so nothing that may be beside it.
    """

    label: str
    files: Mapping[str, str]
    fetch: Fetch
    file_format: Format
    known: Mapping[str, Mapping[str, TensorHeader]] = field(default_factory=dict)
    is_file: bool = False

    def headers(self, names: Iterable[str]) -> dict[str, TensorHeader]:
        """Return what the files say of each tensor in ``names``, fetching only the files that hold them.

        Raises:
            WeightsError: If a file is missing or broken, or lacks a tensor that the index puts there.
        """
        by_file: dict[str, list[str]] = {}
        for name in names:
            by_file.setdefault(self.files[name], []).append(name)
        headers: dict[str, TensorHeader] = {}
        for file, wanted in by_file.items():
            path = self.fetch(file)
            if path is None:
                raise WeightsError(
                    f"{self.label}: {file} is missing, though the index names it for {wanted[0]}"
                )
            found = self.known.get(file) or _headers(path, self.file_format)
            for name in wanted:
                if name not in found:
                    raise WeightsError(f"{path}: has no tensor {name}, though the index says so")
                headers[name] = found[name]
        return headers

    def read(self, name: str, header: TensorHeader, staging: Staging) -> Tensor:
        """Read one tensor to a device, in the dtype it is stored in.

        Raises:
            WeightsError: If it cannot be read.
        """
        if self.file_format == "safetensors":
            return read_safetensor(header, name, staging)
        return staging.send(read_pickled(header, name))

    def called(self, name: str) -> str:
        """Return what a message calls a tensor."""
        return name

    @property
    def is_saved_tower(self) -> bool:
        """Whether ``encoder.save`` wrote it, with no more blocks than were built."""
        return self.fetch("tower.yaml") is not None

    @property
    def unread_index(self) -> str:
        """What an error of a missing tensor adds where an index was passed over; "" where none was."""
        single = _SINGLE[self.file_format]
        index = f"{single}.index.json"
        if list(self.known) != [single] or self.fetch(index) is None:
            return ""
        return f"; {index} was not read: like transformers, this reads {single} where there is one"

    def config(self) -> dict[str, Any] | None:
        """Return the checkpoint's own config.json; None when it has none.

        Raises:
            WeightsError: If it cannot be read as a JSON object of sensible size.
        """
        path = self.fetch("config.json")
        return None if path is None else _json_object(path)


def open_checkpoint(
    source: str, revision: str | None = None, *, file_format: Format = "safetensors"
) -> Checkpoint:
    """Find a checkpoint's tensors.

    Args:
        source: A file, a folder, or a hub id. What exists on disk is taken from there.
        revision: Branch, tag or commit of a hub id.
        file_format: Which files to read. Pickles are never read unless asked for.

    Raises:
        WeightsError: If nothing is there, or nothing that can be read.
    """
    path = _path(source)
    if path.is_dir():
        return _from_folder(source, path, held(_local_fetch(path), source, None), file_format)
    if path.exists():
        _refuse_gguf(source, path)
        if (path.suffix == ".safetensors") != (file_format == "safetensors"):
            hint = (
                "set weights.format: pickle" if file_format == "safetensors" else "leave out weights.format"
            )
            raise WeightsError(f"{source}: not a {file_format} file; if it is to be read, {hint}")
        fetch = held(_local_fetch(path.parent), source, None)
        return replace(_from_files(source, [path], fetch, file_format), is_file=True)
    if is_weights_path(source):
        raise WeightsError(f"{source}: no such file or folder")
    return _from_hub(source, revision, file_format)


def open_adapter(source: str, revision: str | None = None) -> tuple[Checkpoint, dict[str, Any]]:
    """Find an adapter's tensors, and read its config.

    Args:
        source: A folder, or a hub id.
        revision: Branch, tag or commit of a hub id.

    Raises:
        WeightsError: If there is no adapter, or none in safetensors.
    """
    path = _path(source)
    if is_weights_path(source) and not path.is_dir():
        raise WeightsError(f"{source}: no such folder; weights.adapter is the folder of an adapter")
    fetch = held(_local_fetch(path) if path.is_dir() else _hub_fetch(source, revision), source, revision)
    config = fetch(ADAPTER_CONFIG)
    if config is None:
        raise WeightsError(f"{source}: no adapter: it has no {ADAPTER_CONFIG}")
    weights = fetch(ADAPTER_WEIGHTS)
    if weights is None:
        raise WeightsError(
            f"{source}: no {ADAPTER_WEIGHTS} in this adapter; pickles of adapters are not read"
        )
    known = {ADAPTER_WEIGHTS: safetensors_headers(weights)}
    files = dict.fromkeys(known[ADAPTER_WEIGHTS], ADAPTER_WEIGHTS)
    return Checkpoint(source, files, fetch, "safetensors", known), _json_object(config)


def refuse_adapter(checkpoint: Checkpoint) -> None:
    """Refuse a folder or repository with an adapter beside its weights: it may be meant or left over.

    Raises:
        WeightsError: If it has one.
    """
    if not checkpoint.is_file and checkpoint.fetch(ADAPTER_CONFIG) is not None:
        raise WeightsError(
            f"{checkpoint.label}: has an adapter beside its weights ({ADAPTER_CONFIG}): name the same as "
            "weights.adapter to merge it, or the file of weights alone as weights.source to leave it out"
        )


def local_folder(source: str, revision: str | None = None) -> Path | None:
    """Return the folder with a checkpoint's processor config, fetched if on a hub; None if there is none.

    Raises:
        WeightsError: If ``source`` is neither a path nor a hub id.
    """
    path = _path(source)
    if path.exists():
        folder = path if path.is_dir() else path.parent
        fetch = held(_local_fetch(folder), source, None)
    elif is_weights_path(source):
        return None  # what is missing is said where weights are read
    else:
        folder, fetch = None, held(_hub_fetch(source, revision), source, revision)
    found = [fetch(name) for name in PROCESSOR_FILES]
    return folder or next((file.parent for file in found if file is not None), None)


def _path(source: str) -> Path:
    path = Path(os.path.expanduser(source))
    try:
        exists(path)
    except OSError as error:  # a name too long for a file, and for a hub id
        raise WeightsError(f"{source[:80]}...: neither a path nor a hub id: {error.strerror}") from error
    return path


def _from_folder(label: str, folder: Path, fetch: Fetch, file_format: Format) -> Checkpoint:
    single = folder / _SINGLE[file_format]
    index = folder / f"{single.name}.index.json"
    for weights in (single, index):
        fetch(weights.name)  # which compares it with a lock, and misses it
    if index.exists() and not single.exists():  # as transformers does; an index may be left from before
        return Checkpoint(label, _weight_map(index, file_format), fetch, file_format)
    files = [single] if single.exists() else sorted(folder.glob(f"*{single.suffix}"))
    files = [file for file in files if not file.name.startswith("adapter_model.")]
    if not files:
        _refuse_adapter_alone(label, folder / ADAPTER_CONFIG)
        for gguf in sorted(folder.glob("*.gguf")):
            _refuse_gguf(label, gguf)
        pickles = sorted(path.name for path in folder.glob("*.bin"))
        hint = f", but {pickles[0]}: {_PICKLE_HINT}" if pickles else ""
        raise WeightsError(f"{label}: no {single.suffix} file in this folder{hint}")
    return _from_files(label, files, fetch, file_format)


def _refuse_adapter_alone(label: str, config: Path | None) -> None:
    if config is not None and config.exists():
        base = _json_object(config).get("base_model_name_or_path")
        of = f", which is {shortened(base)}," if isinstance(base, str) else ""
        raise WeightsError(
            f"{label}: is an adapter without its base model: name that{of} as weights.source, and this as "
            "weights.adapter"
        )


def _refuse_gguf(label: str, path: Path) -> None:
    if path.suffix == ".gguf":
        raise WeightsError(
            f"{label}: {path.name} is a GGUF file of llama.cpp, which is not read: use the safetensors that "
            "it was converted from"
        )


def _headers(path: Path, file_format: Format) -> dict[str, TensorHeader]:
    return safetensors_headers(path) if file_format == "safetensors" else pickled_headers(path)


def _from_files(label: str, files: list[Path], fetch: Fetch, file_format: Format) -> Checkpoint:
    names: dict[str, str] = {}
    known: dict[str, Mapping[str, TensorHeader]] = {}
    for file in files:
        fetch(file.name)  # which compares it with a lock
        known[file.name] = _headers(file, file_format)
        for name in known[file.name]:
            if name in names:
                raise WeightsError(f"{label}: tensor {name[:200]} is in both {names[name]} and {file.name}")
            names[name] = file.name
        if len(files) > 1 and len(names) > _FOLDER_TENSORS:
            raise WeightsError(
                f"{label}: its files hold more than {_FOLDER_TENSORS:,} tensors and there is no index, so "
                f"that all headers have to be read; add a {_SINGLE[file_format]}.index.json"
            )
    return Checkpoint(label, names, fetch, file_format, known)


def _local_fetch(folder: Path) -> Fetch:
    # Whatever is there is returned: what is no regular file is refused, not passed over, when it is read.
    return lambda name: folder / name if (folder / name).exists() else None


def _from_hub(repo: str, revision: str | None, file_format: Format) -> Checkpoint:
    fetch = held(_hub_fetch(repo, revision), repo, revision)
    name = _SINGLE[file_format]
    single, not_cached = None, None
    try:
        single = fetch(name)
    except _NotCachedError as error:  # a checkpoint of several files has none of this name
        not_cached = error
    index = None if single is not None else fetch(f"{name}.index.json")
    if index is not None:
        return Checkpoint(repo, _weight_map(index, file_format), fetch, file_format)
    if single is None:
        try:
            single = fetch(_OPEN_CLIP[file_format])
            name = name if single is None else single.name
        except _NotCachedError as error:
            not_cached = not_cached or error
    if single is None:
        _refuse_adapter_alone(repo, fetch(ADAPTER_CONFIG))
        if not_cached is not None:
            raise not_cached
        hint = f"; if it has a {_SINGLE['pickle']}, {_PICKLE_HINT}" if file_format == "safetensors" else ""
        raise WeightsError(f"{repo}: neither {name} nor {name}.index.json in this repository{hint}")
    known = {name: _headers(single, file_format)}
    return Checkpoint(repo, dict.fromkeys(known[name], name), fetch, file_format, known)


class _NotCachedError(WeightsError):
    """A file that may be on the hub, which cannot be reached."""


def _hub_fetch(repo: str, revision: str | None) -> Fetch:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    unreachable = False

    def fetch(name: str) -> Path | None:
        nonlocal unreachable
        try:
            return Path(hf_hub_download(repo, name, revision=revision, local_files_only=unreachable))
        except LocalEntryNotFoundError as error:
            unreachable = True  # and is not waited for again: what was fetched before is here
            # Offline, a file that the repository lacks and one that was never downloaded look the same;
            # only the weights must be there.
            if name not in SMALL and not name.endswith(".index.json"):
                raise _NotCachedError(
                    f"{repo}{near_miss(repo)}: {name} is not in the local cache and the hub cannot be reached"
                ) from error
            return None
        except EntryNotFoundError:
            return None
        except HFValidationError as error:
            raise WeightsError(f"{repo}: neither a file, a folder, nor a hub id: {error}") from error
        except (HfHubHTTPError, OSError) as error:
            raise WeightsError(
                f"{repo}{near_miss(repo)}: cannot fetch {name} from the hub: {error}"
            ) from error

    return fetch


class _Index(BaseModel):
    """The file that says which file holds which tensor."""

    weight_map: dict[str, str]


def _weight_map(index: Path, file_format: Format) -> dict[str, str]:
    content = _json_object(index, limit=_INDEX_BYTES, values=_INDEX_VALUES)
    try:
        weight_map = _Index.model_validate(content, strict=True).weight_map
    except ValidationError:
        raise WeightsError(f"{index}: no weight_map from tensor names to files") from None
    files = set(weight_map.values())
    if len(files) > _INDEX_FILES:
        raise WeightsError(f"{index}: names {len(files):,} files; the limit is {_INDEX_FILES:,}")
    for file in sorted(files):
        if not _is_plain_name(file):
            raise WeightsError(f"{index}: {shortened(file)} is not the name of a file in the same folder")
        if file.endswith(".safetensors") != (file_format == "safetensors"):
            hint = f"; {_PICKLE_HINT}" if file_format == "safetensors" else ""
            raise WeightsError(f"{index}: {shortened(file)} is not a {file_format} file{hint}")
    return weight_map


def _is_plain_name(file: str) -> bool:
    """Whether a name can only be that of a file in the same folder, here and on other systems."""
    plain = file not in ("", ".", "..") and file.isprintable() and not set(file) & set("/\\:")
    return plain and len(file.encode("utf-8", "replace")) <= _NAME_BYTES


def _json_object(path: Path, **limits: int) -> dict[str, Any]:
    try:
        return read_json(path, **limits)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise WeightsError(f"{path}: not readable as JSON: {error}") from error
