"""Export an encoder into a file that runs without transformers, and check the file before it is named."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from torch.export import ExportedProgram

from .._version import __version__
from ..encoder import ComposedVisionEncoder
from ..errors import ExportError, VisionComposerError
from ..images.image_steps import ImageSteps
from ..running.compilation import should_torch_compile_mm_vit
from ..vision_encoder import VisionEncoder
from . import layouts, runtime
from .cases import Case, cases_of, noise
from .files import FORMAT, METADATA, PARITY
from .formats import FORMATS, FileFormat
from .graph import trace
from .mmproj import SUFFIX, write_mmproj
from .preprocessing import Preprocessing

_GGUF = "gguf"
_SUFFIXES = {**{name: format.suffix for name, format in FORMATS.items()}, _GGUF: SUFFIX}
"""Format -> what names of its files end in."""

_TOLERANCES = {torch.float16: 5e-3, torch.bfloat16: 4e-2}
"""Half precision -> the largest difference from the encoder, relative to the largest feature."""


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        path: The file.
        parity: Batch, in words -> the largest difference between the features of the file and the encoder's,
            relative to the largest feature. Empty of a GGUF file, which has tensors and no graph.
    """

    path: Path
    parity: dict[str, float]


def export_encoder(
    encoder: VisionEncoder,
    path: str | os.PathLike[str],
    format: str = "pt2",
    *,
    dtype: str | None = None,
) -> Exported:
    """Write an encoder into one file that runs without transformers.

    The file is written beside its name, loaded again, and run on batches of other numbers and sizes of images
    than it was traced with. It gets its name only if its features are the encoder's. Where the encoder takes
    images of any size, so does the file, with any number of them.

    A GGUF file has no graph. Its tensors are read back, and must be the encoder's in the dtype of the file.

    Args:
        encoder: What ``compose`` returned. It is exported for the device that it is on.
        path: Where to write, a name that ends in ``.pt2``, ``.onnx`` or ``.gguf``, as the format does.
        format: ``pt2`` for torch.export.load, ``aoti`` for code that AOTInductor compiles here, ``onnx``, or
            ``gguf`` for llama.cpp.
        dtype: What the matrices of a GGUF file are in: ``f16``, which is the default, ``f32`` or ``bf16``.

    Returns:
        The file, and how far its features are from the encoder's.

    Raises:
        ExportError: If the encoder cannot be exported, the reason is said; if the file's features are others,
            by how much; or if the file cannot be written, or is there already. No file is left then.
        MissingDependencyError: If ONNX or GGUF is asked for and its packages are not installed.
    """
    target = Path(os.path.expanduser(path))
    tower = _one_tower(encoder)
    if format not in _SUFFIXES:
        raise ExportError(f"format is {format!r}; it must be {', '.join(_SUFFIXES)}")
    if format != _GGUF:
        _check_graph(tower)
        if dtype is not None:
            raise ExportError(f"a file of format {format} has the encoder's own dtype: set weights.dtype")
    if target.suffix != _SUFFIXES[format]:
        raise ExportError(f"{target}: the name of a file of format {format} ends in {_SUFFIXES[format]}")
    if target.exists():
        raise ExportError(f"{target}: it is there already; remove it, or choose another name")
    try:
        folder = tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent)
    except OSError as error:
        raise ExportError(f"{target}: cannot be written: {error.strerror}") from error
    with folder as name, tower.evaluating():
        written = Path(name) / target.name
        if format == _GGUF:
            write_mmproj(tower, written, dtype or "f16")
            parity = {}
        else:
            parity = _write_checked(tower, written, FORMATS[format])
        written.replace(target)
    return Exported(target, parity)


def _one_tower(composed: VisionEncoder) -> ComposedVisionEncoder:
    """Return the encoder, if it is one that any file can hold.

    Raises:
        ExportError: If not.
    """
    name = composed.config.name or "this encoder"
    if not isinstance(composed, ComposedVisionEncoder):
        raise ExportError(f"{name} has several towers; export each by itself")
    if composed.parallel is not None:
        raise ExportError(f"{name} spreads images over processes; compose it with parallel=none")
    if composed.config.quantize != "none":
        raise ExportError(f"{name} is quantised, which no file is; compose it with quantize=none")
    if composed.plan.reduces:
        raise ExportError(f"{name} reduces tokens, which no file does; export it without reduce")
    return composed


def _check_graph(encoder: ComposedVisionEncoder) -> None:
    """Check that the encoder can be a graph.

    Raises:
        ExportError: If not.
    """
    name = encoder.config.name or "this encoder"
    if should_torch_compile_mm_vit(encoder.config):
        raise ExportError(f"{name} is compiled; compose it with compile=false")
    if encoder.attention.implementation not in ("sdpa", "eager"):
        raise ExportError(
            f"{name} runs attention by {encoder.attention.implementation}, whose kernels are in no file; "
            "compose it with attn_backend=sdpa"
        )
    if encoder.plan.tiling is not None:
        raise ExportError(
            f"{name} cuts images into tiles; export it with output=features, which takes a tile"
        )


def _write_checked(encoder: ComposedVisionEncoder, path: Path, format: FileFormat) -> dict[str, float]:
    """Write and check a file.

    Dynamo's reading of the bytecode takes longest and sees most, and a few encoders take one size only where
    torch could not follow how they resize their positions: what is cheapest and does most is tried first.

    Raises:
        ExportError: That of the first attempt, which says most.
    """
    packed = layouts.PackedInputs.of(encoder.tower)
    metadata = _metadata(encoder, packed)
    sizes = (True, False) if encoder.info.any_size and packed is None else (True,)
    attempts = [(any_size, strict) for any_size in sizes for strict in (False, True)]
    failed: list[ExportError] = []
    for any_size, strict in attempts:
        try:
            return _attempt(encoder, path, format, packed, metadata, any_size=any_size, strict=strict)
        except layouts.SizesNeededError:
            raise
        except ExportError as error:
            path.unlink(missing_ok=True)
            failed.append(error)
    raise failed[0]


def _attempt(
    encoder: ComposedVisionEncoder,
    path: Path,
    format: FileFormat,
    packed: layouts.PackedInputs | None,
    metadata: dict[str, Any],
    *,
    any_size: bool,
    strict: bool,
) -> dict[str, float]:
    first, *others = cases = cases_of(encoder, any_size=any_size)
    pixels = [case.batch.to(encoder.device, torch.float32).pixels for case in cases]
    tables = [packed.tensors(case.batch.grids) if packed else [] for case in cases]
    examples = [(own, *beside) for own, beside in zip(pixels, tables, strict=True)]
    program = trace(encoder.vision, first.batch, examples, packed, strict=strict)
    format.write(program, [runtime.PIXELS, *(packed.names if packed else ())], path)
    format.add(str(path), METADATA, {**metadata, "pixels": _pixels(program)})
    tolerance = _TOLERANCES.get(encoder.dtype, format.tolerance)
    parity = parity_of(encoder, runtime.load(path), others, tolerance)
    format.add(str(path), PARITY, parity)
    runtime.load(path)  # with the figures, it still opens
    return parity


def parity_of(
    encoder: ComposedVisionEncoder, exported: runtime.ExportedTower, cases: list[Case], tolerance: float
) -> dict[str, float]:
    """Compare the features of a file with the encoder's.

    Args:
        encoder: The encoder.
        exported: The file.
        cases: The batches.
        tolerance: The largest difference, relative to the largest feature.

    Raises:
        ExportError: If the file takes no such batch, or its features are others; names the batch.
    """
    parity = {}
    for case in cases:
        try:
            found = exported(**case.exported)
        except VisionComposerError as error:
            raise ExportError(f"the export does not take {case.name}: {error}") from error
        wanted = encoder(**case.inputs)
        parity[case.name] = difference = _difference(wanted, found)
        if not difference <= tolerance:
            raise ExportError(
                f"the export's features of {case.name} differ from the encoder's by {difference:.1e} of the "
                f"largest; {tolerance:.0e} is allowed"
            )
    return parity


def _difference(wanted: Tensor | tuple[Tensor, ...], found: Tensor | tuple[Tensor, ...]) -> float:
    """Return the largest difference, relative to the largest feature; infinity if shapes differ."""
    shapes = [[tuple(image.shape) for image in features] for features in (wanted, found)]
    if type(wanted) is not type(found) or shapes[0] != shapes[1]:
        return float("inf")
    pairs = [(w.double(), f.to(w.device).double()) for w, f in zip(wanted, found, strict=True)]
    largest: float = max(w.abs().max().item() for w, _ in pairs)
    difference: float = max((w - f).abs().max().item() for w, f in pairs)
    return difference / max(largest, 1e-30)


def _pixels(program: ExportedProgram) -> list[int | None]:
    """Return the shape of the pixels that a graph takes; None is any number."""
    name = program.graph_signature.user_inputs[0]
    node = next(node for node in program.graph.nodes if node.name == name)
    return [side if isinstance(side, int) else None for side in node.meta["val"].shape]


def _metadata(encoder: ComposedVisionEncoder, packed: layouts.PackedInputs | None) -> dict[str, Any]:
    """Return what stands in the file beside the graph, as JSON-ready values.

    Raises:
        ExportError: If the runtime could not make the graph's inputs.
    """
    return {
        "format": FORMAT,
        "config": encoder.config.resolved(),
        "versions": {
            "vision-composer": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": sys.version.split()[0],
        },
        "device": str(encoder.device),
        "dtype": str(encoder.dtype).removeprefix("torch."),
        "width": encoder.output_width,
        "per_image": encoder.config.output != "features",
        "layout": {**packed.described, **_rows(encoder)} if packed else None,
        "preprocessing": preprocessing_of(encoder),
    }


def _rows(encoder: ComposedVisionEncoder) -> dict[str, Any]:
    """Return how many rows an image of some grid becomes, and how many frames it may have.

    Raises:
        ExportError: If the number of patches does not tell.
    """
    side = encoder.info.grid_multiple
    grids = [(1, 2 * side, 3 * side), (1, side, side), (1, 4 * side, 7 * side)]
    rows = encoder.vision.rows_per_image(grids)
    per_row = {frames * h * w / n for (frames, h, w), n in zip(grids, rows, strict=True)}
    if len(per_row) == 1 and (each := per_row.pop()) == int(each):
        found = (0, int(each))
    elif len(set(rows)) == 1:
        found = (rows[0], 1)
    else:
        raise ExportError("the number of its patches does not tell how many rows an image becomes")
    return {"rows": found, "max_frames": encoder.info.max_frames or None}


def preprocessing_of(encoder: ComposedVisionEncoder) -> dict[str, Any]:
    """Return the steps that make the encoder's inputs of images; or why the runtime has none, in a sentence.

    Steps are taken only if they make the encoder's inputs, to the bit, of images of several sizes.
    """
    refused = {
        "refused": f"the image processor of {encoder.config.name or encoder.info.model_type} does more than "
        "the runtime's steps; bring pixel_values of your own, as encoder.preprocess(images) makes them"
    }
    steps, levels = encoder.preprocessor.reader.read, encoder.preprocessor.levels
    if levels is None or not isinstance(steps, ImageSteps):
        return refused
    sizes = [(64, 48), (31, 97), (300, 200), (40, 40)]
    generator = np.random.default_rng(0)
    try:
        described = Preprocessing(steps, levels).described()
        again = Preprocessing.of(described)
        for size in sizes:
            image = noise(generator, encoder.info, size)
            wanted, found = encoder.preprocess([image]), again([image])
            if wanted.keys() != found.keys() or not all(
                torch.equal(found[name], wanted[name].cpu()) for name in wanted
            ):
                return refused
    except (VisionComposerError, TypeError, StopIteration):
        return refused
    return described
