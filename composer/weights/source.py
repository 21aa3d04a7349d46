"""Where a checkpoint's files are: a file, a folder, or a hub id. Reads names and shapes, not weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import WeightsError
from .files import Format, TensorHeader, read_headers

_SINGLE: dict[Format, str] = {"safetensors": "model.safetensors", "pickle": "pytorch_model.bin"}
_PICKLE_HINT = "to read it with torch's weights-only unpickler, set weights.format: pickle"
_SMALL = ("config.json", "tower.yaml", "preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose tensors are named but not read.

    Attributes:
        label: How the user named it; for messages.
        files: Tensor name -> file name, as the index or the files themselves say.
        fetch: File name -> path; downloads a hub's file on first use.
    """

    label: str
    files: Mapping[str, str]
    fetch: Callable[[str], Path | None]

    def headers(self, names: Iterable[str]) -> dict[str, TensorHeader]:
        """Shape and file of each tensor in ``names``, fetching only the files that hold them.

        Raises:
            WeightsError: A file that is missing or broken, or that lacks a tensor the index puts there.
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
            found = read_headers(path)
            for name in wanted:
                if name not in found:
                    raise WeightsError(f"{path}: has no tensor {name}, though the index says so")
                headers[name] = found[name]
        return headers

    @property
    def is_saved_tower(self) -> bool:
        """Whether ``encoder.save`` wrote it, with no more blocks than were built."""
        return self.fetch("tower.yaml") is not None

    def config(self) -> dict[str, Any] | None:
        """The checkpoint's own config.json; None when it has none.

        Raises:
            WeightsError: It is not JSON.
        """
        path = self.fetch("config.json")
        return None if path is None else _read_json(path)


def open_checkpoint(
    source: str, revision: str | None = None, *, file_format: Format = "safetensors"
) -> Checkpoint:
    """Find a checkpoint's tensors.

    Args:
        source: A file, a folder, or a hub id. What exists on disk is taken from there.
        revision: Branch, tag or commit of a hub id.
        file_format: Which files to read. Pickles are never read unless asked for.

    Raises:
        WeightsError: Nothing there, or nothing that can be read.
    """
    path = Path(source).expanduser()
    try:
        path.exists()
    except OSError as error:  # a name too long for a file, and for a hub id
        raise WeightsError(f"{source[:80]}...: neither a path nor a hub id: {error.strerror}") from error
    if path.is_file():
        if (path.suffix == ".safetensors") != (file_format == "safetensors"):
            hint = (
                "set weights.format: pickle" if file_format == "safetensors" else "leave out weights.format"
            )
            raise WeightsError(f"{source}: not a {file_format} file; if it is to be read, {hint}")
        return _from_files(source, [path], path.parent)
    if path.is_dir():
        return _from_folder(source, path, file_format)
    if _looks_like_path(source):
        raise WeightsError(f"{source}: no such file or folder")
    return _from_hub(source, revision, file_format)


def local_folder(source: str, revision: str | None = None) -> Path | None:
    """The folder with a checkpoint's processor config, fetched if on a hub; None if there is none."""
    path = Path(source).expanduser()
    if path.exists():
        return path if path.is_dir() else path.parent
    if _looks_like_path(source):
        return None  # what is missing is said where weights are read
    fetch = _hub_fetch(source, revision)
    found = [fetch(name) for name in _SMALL[2:]]
    return next((file.parent for file in found if file is not None), None)


def _looks_like_path(source: str) -> bool:
    return source.startswith((".", "/", "~")) or source.endswith(".safetensors") or source.count("/") > 1


def _from_folder(label: str, folder: Path, file_format: Format) -> Checkpoint:
    single = folder / _SINGLE[file_format]
    index = folder / f"{single.name}.index.json"
    if index.is_file():
        return Checkpoint(label, _weight_map(index), _local_fetch(folder))
    files = [single] if single.is_file() else sorted(folder.glob(f"*{single.suffix}"))
    if not files:
        pickles = sorted(path.name for path in folder.glob("*.bin"))
        hint = f", but {pickles[0]}: {_PICKLE_HINT}" if pickles else ""
        raise WeightsError(f"{label}: no {single.suffix} file in this folder{hint}")
    return _from_files(label, files, folder)


def _from_files(label: str, files: list[Path], folder: Path) -> Checkpoint:
    names: dict[str, str] = {}
    for file in files:
        for name in read_headers(file):
            if name in names:
                raise WeightsError(f"{label}: tensor {name} is in both {names[name]} and {file.name}")
            names[name] = file.name
    return Checkpoint(label, names, _local_fetch(folder))


def _local_fetch(folder: Path) -> Callable[[str], Path | None]:
    return lambda name: folder / name if (folder / name).is_file() else None


def _from_hub(repo: str, revision: str | None, file_format: Format) -> Checkpoint:
    fetch = _hub_fetch(repo, revision)
    name = _SINGLE[file_format]
    index = fetch(f"{name}.index.json")
    if index is not None:
        return Checkpoint(repo, _weight_map(index), fetch)
    single = fetch(name)
    if single is None:
        hint = f"; if it has a {_SINGLE['pickle']}, {_PICKLE_HINT}" if file_format == "safetensors" else ""
        raise WeightsError(f"{repo}: neither {name} nor {name}.index.json in this repository{hint}")
    return Checkpoint(repo, dict.fromkeys(read_headers(single), name), fetch)


def _hub_fetch(repo: str, revision: str | None) -> Callable[[str], Path | None]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    def fetch(name: str) -> Path | None:
        try:
            return Path(hf_hub_download(repo, name, revision=revision))
        except LocalEntryNotFoundError as error:
            # Offline, a file that the repository lacks and one that was never downloaded look the same;
            # only the weights must be there.
            if name not in _SMALL and not name.endswith(".index.json"):
                raise WeightsError(
                    f"{repo}: {name} is not in the local cache and the hub cannot be reached"
                ) from error
            return None
        except EntryNotFoundError:
            return None
        except HFValidationError as error:
            raise WeightsError(f"{repo}: neither a file, a folder, nor a hub id: {error}") from error
        except (HfHubHTTPError, OSError) as error:
            raise WeightsError(f"{repo}: cannot fetch {name} from the hub: {error}") from error

    return fetch


def _weight_map(index: Path) -> dict[str, str]:
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise WeightsError(f"{index}: no weight_map from tensor names to files")
    escaping = [file for file in weight_map.values() if Path(file).name != file]
    if escaping:
        raise WeightsError(f"{index}: {escaping[0]!r} is not the name of a file in the same folder")
    return weight_map


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(value, dict):
        raise WeightsError(f"{path}: expected a JSON object, not {type(value).__name__}")
    return value
