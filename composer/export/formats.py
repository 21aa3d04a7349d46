"""The formats of exported files: how a graph and the metadata beside it are written in each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from ..errors import ExportError, MissingDependencyError
from .files import add_to_archive, first_line
from .graph import quietly

OPSET = 20
"""The opset of ONNX files: what torch writes without converting, and onnxruntime reads since 1.17."""

_ONNX_BYTES = 2**31 - 2**24
"""Most bytes of weights in one ONNX file, whose limit is 2 GiB in all."""


@dataclass(frozen=True)
class FileFormat:
    """A format.

    Attributes:
        suffix: What names of its files end in.
        write: Writes a graph into a file, given the names of its inputs.
        add: Puts a JSON object under a name into such a file.
        tolerance: How far float32 features may be from the encoder's, relative to the largest.
    """

    suffix: str
    write: Callable[[ExportedProgram, Sequence[str], Path], None]
    add: Callable[[str, str, Mapping[str, Any]], None]
    tolerance: float = 1e-5


def _write_pt2(program: ExportedProgram, names: Sequence[str], path: Path) -> None:
    torch.export.save(program, path)


def _write_aoti(program: ExportedProgram, names: Sequence[str], path: Path) -> None:
    try:
        with quietly():
            torch._inductor.aoti_compile_and_package(program, package_path=str(path))
    except Exception as error:  # inductor and its compilers raise errors of all kinds
        raise ExportError(f"AOTInductor cannot compile it: {first_line(error)}") from error


def _write_onnx(program: ExportedProgram, names: Sequence[str], path: Path) -> None:
    weights = [*program.state_dict.values(), *program.constants.values()]
    tensors = [weight for weight in weights if isinstance(weight, torch.Tensor)]
    if sum(tensor.nbytes for tensor in tensors) > _ONNX_BYTES:
        raise ExportError("its weights are more than the 2 GiB of an ONNX file; export it as pt2 or aoti")
    if any(tensor.dtype == torch.bfloat16 for tensor in tensors):
        raise ExportError("an ONNX file takes no bfloat16 here; compose it with weights.dtype=float32")
    try:
        import onnxruntime  # noqa: F401  # the check of the file needs it
        import onnxscript  # noqa: F401  # torch needs it
    except ImportError as error:
        raise MissingDependencyError(
            f"{error.name} is needed to export to ONNX: pip install 'vision-composer[onnx]'"
        ) from error
    try:
        with quietly():
            made = torch.onnx.export(
                program,
                (),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                external_data=False,
                input_names=names,
                output_names=["features"],
            )
    except Exception as error:  # torch has classes for some failures of its translation only
        raise ExportError(f"torch cannot translate it to ONNX: {first_line(error)}") from error
    assert made is not None
    made.save(path)


def _add_to_onnx(path: str, name: str, value: Mapping[str, Any]) -> None:
    import onnx

    model = onnx.load(path)
    onnx.helper.set_model_props(
        model, {each.key: each.value for each in model.metadata_props} | {name: json.dumps(value)}
    )
    onnx.save(model, path)


FORMATS: Mapping[str, FileFormat] = {
    "pt2": FileFormat(".pt2", _write_pt2, add_to_archive),
    "aoti": FileFormat(".pt2", _write_aoti, add_to_archive),
    "onnx": FileFormat(".onnx", _write_onnx, _add_to_onnx, 1e-4),
}
"""Name -> format."""
