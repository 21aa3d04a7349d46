"""A tower and its connector as llama.cpp's mmproj file, which it loads beside a language model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..encoder import ComposedVisionEncoder
from ..errors import ExportError, WeightsError
from ..weights.plain import plain
from .gguf_file import Value, check, gguf_package, write
from .projectors import GELU, Projector, image_side, layers_of, pooled_side, projector_of

SUFFIX = ".gguf"

DTYPES: Mapping[str, torch.dtype] = {"f16": torch.float16, "f32": torch.float32, "bf16": torch.bfloat16}
"""What the matrices of a file can be in. Norms, biases and position embeddings are in float32."""

_FILE_TYPES = {"f16": "MOSTLY_F16", "f32": "ALL_F32", "bf16": "MOSTLY_BF16"}
_PUBLISHED = "vision_tower.vision_model."
"""What stands before a tower's names in the checkpoints whose names gguf knows."""
_PATCHES, _POSITIONS, _CLASS = "v.patch_embd.weight", "v.position_embd.weight", "v.class_embd"
_GEMMA_NORM, _GEMMA_PROJECTION = "mm.soft_emb_norm.weight", "mm.input_projection.weight"


def write_mmproj(encoder: ComposedVisionEncoder, path: Path, dtype: str) -> None:
    """Write a file, read it back, and compare it with the encoder.

    Args:
        encoder: With a connector.
        path: The file.
        dtype: Of the matrices, one of :data:`DTYPES`.

    Raises:
        ExportError: If llama.cpp does not run such an encoder; the reason is said. If a weight is too large
            for the dtype, or the file has not the encoder's tensors.
        MissingDependencyError: If gguf is not installed.
    """
    gguf_package()
    if dtype not in DTYPES:
        raise ExportError(f"dtype is {dtype!r}; of a GGUF file it must be {', '.join(DTYPES)}")
    projector = projector_of(encoder.config, encoder.tower.readout)
    keys = _keys(encoder, projector, dtype)
    tensors = {
        name: _stored(name, tensor, _precision(name, tensor, projector, dtype))
        for name, tensor in _tensors(encoder, projector)
    }
    write(path, keys, tensors)
    check(path, keys, tensors)


def _keys(encoder: ComposedVisionEncoder, projector: Projector, dtype: str) -> dict[str, Value]:
    gguf = gguf_package()
    general, clip, vision = gguf.Keys.General, gguf.Keys.Clip, gguf.Keys.ClipVision
    config, readout = encoder.config, encoder.tower.readout
    assert config.connector is not None
    tower, connector = config.encoder.model_dump(), config.connector.model_dump()
    mean, std = _normalisation(encoder)
    keys: dict[str, Value] = {
        general.TYPE: gguf.GGUFType.MMPROJ,
        general.NAME: config.name or config.encoder.model_type,
        general.FILE_TYPE: int(gguf.LlamaFileType[_FILE_TYPES[dtype]]),
        general.QUANTIZATION_VERSION: int(gguf.GGML_QUANT_VERSION),
        clip.HAS_VISION_ENCODER: True,
        clip.PROJECTOR_TYPE: projector.type,
        vision.PROJECTION_DIM: encoder.output_width,
        vision.IMAGE_SIZE: image_side(tower),
        vision.PATCH_SIZE: encoder.info.patch_size,
        vision.EMBEDDING_LENGTH: encoder.info.hidden_size,
        vision.FEED_FORWARD_LENGTH: tower["intermediate_size"],
        vision.BLOCK_COUNT: readout.num_blocks,
        vision.Attention.HEAD_COUNT: encoder.info.num_attention_heads,
        vision.Attention.LAYERNORM_EPS: _float32(tower["layer_norm_eps"]),
        vision.IMAGE_MEAN: mean,
        vision.IMAGE_STD: std,
    }
    if tower["hidden_act"] in GELU:
        keys[vision.USE_GELU] = True
    elif tower["hidden_act"] == "silu":
        keys[vision.USE_SILU] = True
    if projector.joins_layers:
        # Without it llama.cpp leaves out the last block that the file has.
        keys["clip.vision.feature_layer"] = list(layers_of(readout))
    else:
        keys[vision.Projector.SCALE_FACTOR] = pooled_side(tower, connector)
    if projector.tiling == "idefics3":
        # The length that llama.cpp resizes the longer side to, before it cuts tiles of image_size.
        edge = image_side(tower) if config.tiling == "none" else config.tiling.model_dump()["longest_edge"]
        keys[vision.PREPROC_IMAGE_SIZE] = edge
    return keys


def _normalisation(encoder: ComposedVisionEncoder) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of the channels, of pixels from 0 to 1.

    Raises:
        ExportError: If the image processor computes something else.
    """
    values, own = encoder.plan.processor.values, encoder.preprocessor.levels
    if own is not None and {"image_mean", "image_std"} <= values.keys():
        mean, std = (
            np.broadcast_to(np.asarray(values[key], np.float32), 3) for key in ("image_mean", "image_std")
        )
        levels = (np.arange(256, dtype=np.float32) / 255 - mean[:, None]) / std[:, None]
        if levels.shape == own.table.shape and np.allclose(levels, own.table, atol=1e-4):
            return mean.tolist(), std.tolist()
    name = encoder.config.name or "this encoder"
    raise ExportError(
        f"{name} cannot be written for llama.cpp, which subtracts a mean from pixels and divides by a "
        "standard deviation: its image processor does something else"
    )


def _float32(value: float) -> float:
    return float(np.float32(value))


def _tensors(encoder: ComposedVisionEncoder, projector: Projector) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors under their names in the file, in the layout of llama.cpp.

    Raises:
        ExportError: If weights are not plain tensors, or there is one that a file has no name for.
    """
    gguf = gguf_package()
    assert encoder.connector is not None
    try:
        tower = plain(encoder.model, merge_adapters=False).state_dict()
        connector = plain(encoder.connector, merge_adapters=False).state_dict()
    except WeightsError as error:
        raise ExportError(str(error)) from None
    published = gguf.get_tensor_name_map(gguf.MODEL_ARCH.MMPROJ, encoder.tower.readout.num_blocks)
    for own, tensor in tower.items():
        name = published.get_name(_PUBLISHED + own, try_suffixes=(".weight", ".bias"))
        yield _named(name, own), _as_convolution(tensor, encoder.info.patch_size, name == _PATCHES)
    for own, tensor in connector.items():
        parts = ((ours, theirs) for ours, theirs in projector.names.items() if own.startswith(ours))
        name = next((theirs + own.removeprefix(ours) for ours, theirs in parts), None)
        # Gemma's norm multiplies by one plus its weight, llama.cpp's by the weight.
        yield _named(name, own), tensor.float() + 1 if name == _GEMMA_NORM else tensor


def _named(name: str | None, own: str) -> str:
    if name is None:
        raise ExportError(f"{own} is a tensor that a GGUF file has no name for")
    return name


def _as_convolution(tensor: Tensor, patch: int, embeds_patches: bool) -> Tensor:
    """Return a patch embedding as (width, channels, rows, columns), any other tensor as it is.

    A linear layer takes the values of a patch row by row, those of a pixel together.
    """
    if not embeds_patches or tensor.dim() != 2:
        return tensor
    return tensor.reshape(len(tensor), patch, patch, -1).permute(0, 3, 1, 2)


def _precision(name: str, tensor: Tensor, projector: Projector, dtype: str) -> torch.dtype:
    """Return the dtype that a tensor is stored in: where llama.cpp's own converter has one, that one."""
    if tensor.dim() == 1 or name in (_POSITIONS, _CLASS):
        return torch.float32
    if name == _PATCHES:
        return torch.float16 if dtype == "f16" and not projector.patches_in_float32 else torch.float32
    if name == _GEMMA_PROJECTION:
        return torch.float16
    return DTYPES[dtype]


def _stored(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a tensor as it is stored.

    Raises:
        ExportError: If a value is too large for that, or is none.
    """
    stored = tensor.detach().to("cpu", dtype).contiguous()
    if not stored.isfinite().all():
        lost = (
            "NaN or infinite" if not tensor.isfinite().all() else f"too large for {dtype}; write bf16 or f32"
        )
        raise ExportError(f"the tensor {name} has values that are {lost}")
    return stored
