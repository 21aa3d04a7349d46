"""Other programs that run the same encoder with the same weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..encoders import family_of
from ..errors import InputError, MissingDependencyError
from ..schemas import WeightsConfig
from ..text import did_you_mean
from ..weights import load_model
from .measure import Inputs, Run
from .timm_peer import run_timm

if TYPE_CHECKING:
    from ..encoder import ComposedVisionEncoder
    from ..encoders.batch import Batch


class TransformersTower(nn.Module):
    """The encoder as a VLM of transformers runs it: whole, with all hidden states, of which it takes some.

    Its weights are the tower's own, the same memory; blocks that the tower leaves out are random.

    Args:
        tower: The composed tower.

    Raises:
        InputError: If the tower's weights do not fit into transformers' module.
    """

    def __init__(self, tower: ComposedVisionEncoder) -> None:
        super().__init__()
        family, encoder = family_of(tower.config.encoder), tower.config.encoder
        model = load_model(
            family,
            encoder,
            WeightsConfig(source=None),
            num_blocks=encoder.num_hidden_layers,
            post_norm=True,
            head=encoder.has_head or not family.head_field,
            dtype=tower.dtype,
            attn_implementation="sdpa",
            device=tower.device,
        )
        unknown = model.load_state_dict(tower.model.state_dict(), strict=False, assign=True).unexpected_keys
        if unknown:
            raise InputError(f"{encoder.model_type}: transformers' class has no {unknown[0]} to compare with")
        self.model = model
        self.to(tower.device).eval()
        self.encoder = [tower]  # in a list, so that it is no submodule

    def forward(self, **inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The features in the form in which the tower returns them."""
        (encoder,) = self.encoder
        # Only who picks layers asks for them.
        states = {} if encoder.config.select_layers is None else {"output_hidden_states": True}
        there = {name: value.to(encoder.device) for name, value in inputs.items()}  # grids, too
        output = self.model(**encoder.family.reference_inputs(there), **states)
        return self._chosen(output, encoder.tower.read(inputs))

    def _chosen(self, output: Any, batch: Batch) -> Tensor | tuple[Tensor, ...]:
        (encoder,) = self.encoder
        config, plan, readout = encoder.config, encoder.plan, encoder.plan.readout
        if config.head:
            features = output.pooler_output.unsqueeze(1)
        elif config.select_layers is None:
            features = encoder.family.reference_output(output, batch)
            features = features if plan.info.ragged else readout.selection(features)
        else:
            norm = self.model.get_submodule(encoder.family.post_norm) if plan.norm_layers else nn.Identity()
            picked = [
                norm(output.hidden_states[k]) if k in plan.norm_layers else output.hidden_states[k]
                for k in plan.select_layers
            ]
            features = torch.cat([readout.selection(state) for state in picked], dim=-1)
        return _apart(features, encoder, batch) if plan.info.ragged else features


def _apart(features: Tensor, encoder: ComposedVisionEncoder, batch: Batch) -> tuple[Tensor, ...]:
    """One tensor per image, of features that stand in one sequence or in rows that are padded at the end."""
    counts = encoder.tower.rows_per_image(batch.grids)
    if features.dim() == 3 and len(features) == len(counts) and len(counts) > 1:
        return tuple(row[:count] for row, count in zip(features, counts, strict=True))
    rows = features.reshape(-1, features.shape[-1])
    if len(rows) != sum(counts):
        raise InputError(
            f"{encoder.info.model_type}: transformers returns {tuple(features.shape)}, which cannot be "
            f"compared with the {sum(counts)} tokens of these images"
        )
    return torch.split(rows, counts)


def run_transformers(tower: ComposedVisionEncoder, inputs: Inputs) -> Callable[[], Run]:
    """transformers' own class, uncompiled, with torch's scaled_dot_product_attention."""
    module = TransformersTower(tower)
    there = {name: value.to(tower.device) for name, value in inputs.items()}
    return lambda: lambda: module(**there)


def run_onnxruntime(tower: ComposedVisionEncoder, inputs: Inputs) -> Callable[[], Run]:
    """transformers' class as ``torch.onnx.export`` writes it down, run by ONNX Runtime.

    Inputs and outputs are bound to torch's memory, so that nothing is copied.

    Raises:
        InputError: If images differ in size, the dtype is bfloat16, or ONNX Runtime lacks the device.
    """
    ort = import_module("onnxruntime")
    if tower.info.ragged:
        raise InputError("onnxruntime is compared on dense encoders only: a graph has one size of batch")
    if tower.dtype not in (torch.float32, torch.float16):
        raise InputError(f"onnxruntime is compared in float32 and float16, not in {tower.dtype}")
    provider = "CUDAExecutionProvider" if tower.device.type == "cuda" else "CPUExecutionProvider"
    if provider not in ort.get_available_providers():
        raise InputError(f"this build of onnxruntime has no {provider}: pip install onnxruntime-gpu")
    module = TransformersTower(tower)
    (name, pixels), *_ = inputs.items()

    def prepare() -> Run:
        options = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = os.path.join(folder, "tower.onnx")
            torch.onnx.export(module, (), path, kwargs={name: pixels}, dynamo=True, verbose=False)
            session = ort.InferenceSession(path, options, providers=[provider])
        expected = tower(**inputs)
        return _bound(session, pixels.to(tower.dtype).contiguous(), torch.empty_like(expected))

    return prepare


def _bound(session: Any, pixels: Tensor, features: Tensor) -> Run:
    """Runs ``session`` from one tensor into another."""
    import numpy as np

    binding = session.io_binding()
    kind = np.float16 if pixels.dtype == torch.float16 else np.float32
    for bind, value, tensor in (
        (binding.bind_input, session.get_inputs()[0], pixels),
        (binding.bind_output, session.get_outputs()[0], features),
    ):
        device = tensor.device
        bind(value.name, device.type, device.index or 0, kind, tuple(tensor.shape), tensor.data_ptr())
    held = (pixels, features)  # the binding knows their addresses only

    def run() -> Tensor:
        session.run_with_iobinding(binding)
        return held[1]

    return run


PEERS: dict[str, Callable[[ComposedVisionEncoder, Inputs], Callable[[], Run]]] = {
    "transformers": run_transformers,
    "onnxruntime": run_onnxruntime,
    "timm": run_timm,
}
"""Name of a program -> what readies it. What that returns is timed: it compiles or exports, and returns the
forward."""

_EXTRA = "'vision-composer[bench]'"

_PACKAGES = {"onnxruntime": ("onnxruntime", "onnx", "onnxscript"), "timm": ("timm",)}


def known_peers(names: Iterable[str]) -> tuple[str, ...]:
    """``names`` without repetitions, all known and installed.

    Raises:
        InputError: If there is no such peer.
        MissingDependencyError: If a package that it needs is not installed.
    """
    chosen = tuple(dict.fromkeys(names))
    for name in chosen:
        if name not in PEERS:
            hint = did_you_mean(name, PEERS)
            raise InputError(f"cannot compare with {name!r}{hint}; known: {', '.join(PEERS)}")
        for package in _PACKAGES.get(name, ()):
            require(package, f"to compare with {name}", "timm" if name == "timm" else _EXTRA)
    return chosen


def require(module: str, purpose: str, install: str = _EXTRA) -> Any:
    """Import a module that only a part of bench needs; ``install`` is what pip takes for it.

    Raises:
        MissingDependencyError: If the package is not installed, or cannot be imported.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{purpose} bench needs {error.name or module}, which is not installed: pip install {install}"
        ) from error
    except (ImportError, RuntimeError) as error:  # torchvision beside another torch raises the latter
        raise MissingDependencyError(
            f"{purpose} bench needs {module}, which cannot be imported: {error}"
        ) from error
