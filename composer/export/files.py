"""The files of exported encoders: what stands in them beside the graph, and how each format is opened."""

from __future__ import annotations

import io
import json
import logging
import os
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import ExportError, MissingDependencyError

Program = Callable[..., Tensor]
"""Runs the graph: pixels, then the layout's tensors."""

FORMAT = 1
"""The version of the metadata that this package writes and reads."""

METADATA = "vision_composer.json"
_COMPILED = "/data/aotinductor/"
"""The folder of an archive that has what AOTInductor compiled."""
PARITY = "vision_composer_parity.json"
"""What the check of the file found, which is added when it is over."""


def open_exported(path: str) -> tuple[Program, dict[str, Any]]:
    """Open a file; return what runs its graph, and its metadata.

    Raises:
        ExportError, MissingDependencyError: As ``runtime.load``.
    """
    if not os.path.isfile(path):
        raise ExportError(f"{path}: no such file")
    if zipfile.is_zipfile(path):
        return _archive(path)
    with open(path, "rb") as file:
        start = file.read(4)
    if start[:1] == b"\x08" and path.endswith(".onnx"):
        return _onnx(path)
    broken = start == b"PK\x03\x04" and "the file is cut off or damaged"
    raise ExportError(f"{path}: {broken or 'this is no exported encoder'}")


def add_to_archive(path: str, name: str, value: Mapping[str, Any]) -> None:
    """Put a JSON object into an archive that torch wrote, as one of its extra files."""
    with zipfile.ZipFile(path, "a") as archive:
        root = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{root}/extra/{name}", json.dumps(value))


def load_program(file: str | io.BytesIO) -> torch.export.ExportedProgram:
    """Load what torch.export saved, without its warnings of sizes that it has no more use for."""
    log = logging.getLogger("torch._export.serde.serialize")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        return torch.export.load(file)
    finally:
        log.setLevel(level)


def _archive(path: str) -> tuple[Program, dict[str, Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            found = {name.rpartition("/extra/")[2]: name for name in names if "/extra/" in name}
            if METADATA not in found:
                raise ExportError(
                    f"{path}: this is no exported encoder, or is cut off: nothing in it is of vision-composer"
                )
            if (bad := archive.testzip()) is not None:
                raise ExportError(f"{path}: {bad} in it is damaged")
            texts = {name: archive.read(found[name]) for name in (METADATA, PARITY) if name in found}
            metadata = _checked(path, texts)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise ExportError(f"{path}: the file is cut off or damaged: {error}") from error
    try:
        program: Program
        if any(_COMPILED in name for name in names):
            program = torch._inductor.aoti_load_package(path)
        else:
            program = load_program(path).module()
    except Exception as error:  # torch's readers raise whatever a byte leads them to
        raise ExportError(f"{path}: torch {torch.__version__} cannot load it: {first_line(error)}") from error
    return program, metadata


def _onnx(path: str) -> tuple[Program, dict[str, Any]]:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            f"{path}: an ONNX file needs onnxruntime: pip install 'vision-composer[onnx]'"
        ) from error
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no one class for what is broken
        raise ExportError(f"{path}: onnxruntime cannot load it: {first_line(error)}") from error
    texts = session.get_modelmeta().custom_metadata_map
    if METADATA not in texts:
        raise ExportError(f"{path}: this is no exported encoder: nothing in it is of vision-composer")
    names = [each.name for each in session.get_inputs()]

    def run(*tensors: Tensor) -> Tensor:
        given = dict(zip(names, (tensor.numpy() for tensor in tensors), strict=True))
        return torch.from_numpy(session.run(None, given)[0])

    return run, _checked(path, texts)


def _checked(path: str, texts: Mapping[str, str | bytes]) -> dict[str, Any]:
    """Read the metadata, with what the check found under ``parity``."""
    try:
        metadata: dict[str, Any] = json.loads(texts[METADATA])
        version = metadata["format"]
        metadata["parity"] = json.loads(texts.get(PARITY, "{}"))
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{path}: its metadata is damaged: {first_line(error)}") from error
    if version != FORMAT:
        raise ExportError(
            f"{path}: it is of version {version} of the format, and this package reads version {FORMAT}"
        )
    return metadata


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, or its class if it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
