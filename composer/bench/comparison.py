"""One comparison: the tower and its peers, in one process, on the same weights and inputs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..composing import compose_tower
from ..errors import BackendError, InputError
from ..presets import load_config
from ..running.compilation import CompileSettings, compile_tower
from ..running.quantization import check_quantize, quantize_linears
from ..running.warmup import TOLERANCE, largest_difference
from ..schemas import AnyConfig, CompileConfig
from .measure import Inputs, compiled_graphs, device_name, interleaved, matmuls, peak_bytes, timed
from .peers import PEERS, known_peers
from .result import OURS, BenchResult, Row

if TYPE_CHECKING:
    from ..encoder import ComposedVisionEncoder
    from .measure import Run

Size = tuple[int, int]


def compare(
    source: str | Path | Mapping[str, Any] | AnyConfig,
    *,
    against: Iterable[str] = (),
    images: Sequence[Size] = (),
    batch: int = 1,
    rounds: int = 5,
    device: str | None = None,
) -> BenchResult:
    """Measure an encoder, and other programs with the same weights and inputs.

    The uncompiled tower is measured always; if the config asks for compilation, the compiled one too, and if
    it asks for ``quantize``, each of them quantised beside. The features of all are compared before anything
    is timed, those of quantised towers only to say by how much they differ.

    Args:
        source: Whatever ``compose`` takes.
        against: Names of :data:`PEERS`.
        images: Width and height of the images; default: one of the encoder's own size.
        batch: How often the images are repeated in the batch.
        rounds: How often each is timed.
        device: Where to run.

    Raises:
        InputError: If a peer is unknown, or cannot run this encoder.
        MissingDependencyError: If a peer is not installed.
        BackendError: If features differ by more than rounding explains.
    """
    peers = known_peers(against)
    asked = load_config(source)
    if peers and asked.output != "features":
        raise InputError(
            f"{', '.join(peers)} runs a tower alone, but the config has output: {asked.output}; set output: "
            "features to compare"
        )
    if peers and "reduce" in asked.to_dict():
        raise InputError(f"{', '.join(peers)} returns all tokens: leave reduce out to compare")
    plain = ["compile=false", "parallel=none", "quantize=none"]
    tower = compose_tower(asked, overrides=plain, device=device)
    check_quantize(asked, tower.device)
    towers = {OURS: tower}
    if asked.quantize != "none":
        towers[f"{OURS}, {asked.quantize}"] = _quantised(tower, asked.quantize)
    sizes = tuple(images or [(tower.info.image_size,) * 2]) * batch
    inputs = noise(tower, sizes)
    compiled: list[CompileSettings] = []
    with ExitStack() as evaluating:
        for each in towers.values():
            evaluating.enter_context(each.evaluating())
        contenders = {name: _plain(each, inputs) for name, each in towers.items()}
        if asked.compile is not False:
            settings = asked.compile if isinstance(asked.compile, CompileConfig) else CompileConfig()
            for name, each in towers.items():
                contenders[f"{name}, compiled"] = _compiled(each, settings, inputs, compiled)
        contenders |= {name: PEERS[name](tower, inputs) for name in peers}
        rows, peak = _measure(contenders, tower, rounds, quantised=f"{OURS}, {asked.quantize}")
    flops = [tower.plan.flops(*size) for size in sizes]
    return BenchResult(
        config=asked.name,
        model_type=tower.info.model_type,
        num_blocks=tower.plan.num_blocks,
        num_hidden_layers=tower.info.num_hidden_layers,
        weights=None if asked.weights.source is None else str(asked.weights.source),
        dtype=tower.plan.dtype,
        quantize=asked.quantize,
        device=device_name(tower.device),
        threads=torch.get_num_threads(),
        images=sizes,
        num_patches=sum(tower.info.num_patches(*size) for size in sizes),
        flops=None if None in flops else sum(filter(None, flops)),
        peak_flops_per_second=peak,
        versions={name: _version(name) for name in dict.fromkeys(("torch", "transformers", *peers))},
        rows=rows,
        products_measured=next((bool(how.products) for how in compiled if how.products is not None), None),
    )


def noise(tower: ComposedVisionEncoder, sizes: Sequence[Size]) -> dict[str, torch.Tensor]:
    """Make the inputs of random images of these widths and heights."""
    if not sizes or any(len(size) != 2 or min(size) < 1 for size in sizes):
        raise InputError(
            f"{list(sizes)} are not the sizes of images: each is a pair of a width and a height in pixels"
        )
    generator = np.random.default_rng(0)
    return tower.preprocess([generator.integers(0, 256, (h, w, 3), dtype=np.uint8) for w, h in sizes])


def _version(module: str) -> str:
    """Return the version of an installed module, whatever the distribution that it came with is called."""
    return str(import_module(module).__version__)


def _plain(tower: ComposedVisionEncoder, inputs: Inputs) -> Callable[[], Run]:
    return lambda: lambda: tower(**inputs)


def _quantised(tower: ComposedVisionEncoder, quantize: str) -> ComposedVisionEncoder:
    """Return a quantised copy: of random weights, too, the same."""
    twin = copy.deepcopy(tower)
    quantize_linears(twin.model, twin.blocks, quantize, {})
    if twin.connector is not None:
        quantize_linears(twin.connector, [twin.connector], quantize, {})
    return twin


def _compiled(
    tower: ComposedVisionEncoder, settings: CompileConfig, inputs: Inputs, compiled: list[CompileSettings]
) -> Callable[[], Run]:
    """Return a copy that shares the weights; it notes how it was compiled."""
    shared = {id(weight): weight for weight in (*tower.parameters(), *tower.buffers())}
    twin = copy.deepcopy(tower, dict(shared))

    def prepare() -> Run:
        compiled.append(compile_tower(twin.tower, settings))
        return lambda: twin(**inputs)

    return prepare


def _measure(
    contenders: Mapping[str, Callable[[], Run]],
    tower: ComposedVisionEncoder,
    rounds: int,
    *,
    quantised: str,
) -> tuple[tuple[Row, ...], float]:
    device = tower.device
    products = matmuls(device, tower.dtype)
    runs: dict[str, Run] = {}
    rows: list[Row] = []
    expected: Any = None
    for name, prepare in contenders.items():
        before = compiled_graphs()

        def first(name: str = name, prepare: Callable[[], Run] = prepare) -> Any:
            runs[name] = prepare()
            return runs[name]()

        seconds, features = timed(first, device)
        expected = features if expected is None else expected
        difference = (
            largest_difference(features, expected)
            if name.startswith(quantised)
            else checked(name, features, expected, tower.dtype)
        )
        graphs = compiled_graphs()
        # The second run warms up as well. What onnxruntime allocates torch does not see.
        peak = None if name == "onnxruntime" else peak_bytes(runs[name], device)
        rows.append(Row(name, (), seconds, peak, graphs - before, compiled_graphs() - graphs, difference))
    for product, _ in products:
        product()
    before = compiled_graphs()
    every = [*runs.values(), *(product for product, _ in products)]
    seconds_of_all = interleaved(every, rounds, device)
    times, of_products = seconds_of_all[: len(rows)], seconds_of_all[len(rows) :]
    recompiled = compiled_graphs() - before
    timed_rows = tuple(
        replace(
            row, seconds=seconds, recompiles=row.recompiles + (recompiled if "compiled" in row.name else 0)
        )
        for row, seconds in zip(rows, times, strict=True)
    )
    return timed_rows, max(flops / min(each) for (_, flops), each in zip(products, of_products, strict=True))


def checked(name: str, features: Any, expected: Any, dtype: torch.dtype) -> float:
    """Return by how much features differ.

    Raises:
        BackendError: If that is more than rounding explains.
    """
    shapes = [tuple(f.shape) for f in features], [tuple(f.shape) for f in expected]
    if shapes[0] != shapes[1]:
        raise BackendError(f"{name} returns features of shapes {shapes[0]}, the tower {shapes[1]}")
    difference = largest_difference(features, expected)
    if not difference <= TOLERANCE[dtype]:  # a NaN is not small
        raise BackendError(
            f"{name} and the tower compute different features: by {difference:.2g} of a token's norm, and "
            f"rounding explains {TOLERANCE[dtype]:g}; they cannot be compared"
        )
    return difference
