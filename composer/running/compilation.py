"""Compile a tower with torch.compile."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import BackendError
from ..fusion.module import FusedTowers
from ..fusion.naming import naming
from ..schemas import AnyConfig, CompileConfig
from ..text import did_you_mean
from ..tower.half import VisionHalf
from ..tower.module import VisionTower, run_block
from .products import Measured, packs_any_rows, recall
from .vectors import AVX2_BITS, vector_bits, vector_options

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..tower.base import Features


def should_torch_compile_mm_vit(config: AnyConfig) -> bool:
    """Return whether the config asks for torch.compile."""
    return config.compile is not False


@dataclass(frozen=True)
class CompileSettings:
    """Settings of torch.compile for one tower on one device.

    Attributes:
        backend: torch.compile's backend.
        dynamic: True: the compiled code takes images of any size. None: it takes any number of images of one
            size, which compiles and runs faster.
        freeze: Whether weights are constants of the compiled code.
        cuda_graphs: Whether the code runs as CUDA graphs, whose outputs the next run overwrites.
        options: torch.compile's ``mode`` or ``options``, as keyword arguments.
        products: The measurements that tell frozen code whose matrix products to use; None where weights are
            not frozen for one number of rows, or where there is nothing to choose from.
    """

    backend: str
    dynamic: bool | None
    freeze: bool
    cuda_graphs: bool
    options: dict[str, Any] = field(default_factory=dict)
    products: Measured | None = None


_WITHOUT_GRAPHS = {"reduce-overhead": "default", "max-autotune": "max-autotune-no-cudagraphs"}
"""Modes of torch.compile that record CUDA graphs -> what is left of each without them."""


def compile_settings(
    config: CompileConfig,
    device_type: str,
    *,
    fixed_shapes: bool,
    packs_any_rows: bool = False,
    find_products: Callable[[], Measured | None] = lambda: None,
) -> CompileSettings:
    """Turn a config's ``compile`` into settings.

    Weights are frozen for fixed shapes, and where they can be packed for any number of rows. With a symbolic
    number of rows inductor takes oneDNN instead of MKL; in float32 without AVX-512 that is slower than the
    uncompiled block.

    CUDA graphs are recorded for fixed shapes only: a graph is of one shape, and where every batch has another
    the packed attention's memory is none of a graph's own, which ends in an error of torch. With
    ``token_budgets`` the tower is recorded as a whole, and not once more block by block.

    Args:
        config: The config's ``compile``.
        device_type: ``cpu``, ``cuda``, ...
        fixed_shapes: Whether the tower's batches differ in their number of images only.
        packs_any_rows: Whether :func:`products.packs_any_rows` says so of the tower's dtype.
        find_products: Returns measurements of matrix products; called where weights are frozen for one number
            of rows.
    """
    dynamic = config.dynamic
    records = fixed_shapes and not config.token_budgets
    mode = config.mode if records else _WITHOUT_GRAPHS.get(config.mode, config.mode)
    graphs = device_type == "cuda" and mode in _WITHOUT_GRAPHS
    static = fixed_shapes and not dynamic
    freeze = config.mode == "max-performance" and device_type == "cpu" and (static or packs_any_rows)
    products = find_products() if freeze and static else None
    options: dict[str, Any] = {}
    if freeze:
        options["options"] = _frozen_options(products or {})
    elif config.mode == "max-performance" and device_type != "cpu":
        options["mode"] = "max-autotune-no-cudagraphs"
    elif mode not in ("default", "max-performance"):
        options["mode"] = mode
    elif config.backend == "inductor" and device_type == "cpu" and vector_bits() == AVX2_BITS:
        from .cpu_products import PlainProducts

        options["options"] = {"post_grad_custom_post_pass": PlainProducts()}
    if "mode" not in options and (vectors := vector_options(config.backend, device_type)):
        options["options"] = {**vectors, **options.get("options", {})}
    if dynamic is None and not fixed_shapes:
        dynamic = True
    elif dynamic is None and (freeze or graphs):
        dynamic = False
    return CompileSettings(config.backend, dynamic, freeze, graphs, options, products)


def _frozen_options(measured: Measured) -> dict[str, Any]:
    """Return options by which inductor uses the matrix products that were measured to be faster."""
    options: dict[str, Any] = {"max_autotune": False}
    if measured:
        from .cpu_products import MeasuredProducts

        options["post_grad_custom_pre_pass"] = MeasuredProducts(measured)
    return options


Vision: TypeAlias = VisionTower | VisionHalf | FusedTowers


def compile_as_asked(vision: Vision, config: AnyConfig) -> None:
    """Compile towers and the connector behind them if the config asks for it.

    Raises:
        BackendError: As :func:`compile_tower`.
    """
    if should_torch_compile_mm_vit(config):
        compile_half(vision, config.compile if isinstance(config.compile, CompileConfig) else CompileConfig())


def compile_half(vision: Vision, config: CompileConfig) -> None:
    """Make towers, and the connector behind them if there is one, run compiled code.

    Without CUDA graphs for the connector: its inputs are of as many tiles as the images have.

    Raises:
        BackendError: As :func:`compile_tower`.
    """
    for name, tower in vision.parts.items():
        with naming(name):
            compile_tower(tower, config)
    for part in () if vision.connector_module is None else vision.connector_module.children():
        part.compile(
            backend=config.backend, options=vector_options(config.backend, tower.device.type) or None
        )


def compile_tower(tower: VisionTower, config: CompileConfig) -> CompileSettings:
    """Make ``tower`` run compiled code, which torch compiles at the first forward; return how.

    Raises:
        BackendError: If torch.compile has no backend of that name, the mode cannot run a whole tower, or
            nothing tells which modules the blocks of a generic encoder are.
    """
    import torch

    backends = torch._dynamo.list_backends(exclude_tags=())
    if config.backend not in backends:
        raise BackendError(
            f"torch.compile has no backend {config.backend!r}{did_you_mean(config.backend, backends)}; "
            f"known: {', '.join(backends)}"
        )
    family = tower.family
    settings = compile_settings(
        config,
        tower.device.type,
        fixed_shapes=family.has_fixed_shapes(tower.info),
        packs_any_rows=packs_any_rows(next(tower.parameters()).dtype),
        find_products=partial(recall, tower),
    )
    if config.scope == "tower" and settings.cuda_graphs:
        raise BackendError(
            f"compile.mode {config.mode} cannot compile a whole tower, because it runs CUDA graphs, whose "
            "outputs the next forward overwrites; set compile.scope to blocks"
        )

    def compile_in_place(module: nn.Module) -> None:
        module.compile(backend=settings.backend, dynamic=settings.dynamic, **settings.options)

    if config.scope == "tower":
        compile_in_place(tower)
    else:
        tower.run_block = FrozenBlocks(settings) if settings.freeze else CompiledBlocks(settings)
        family.compile_blocks(tower.model, compile_in_place)
    if settings.cuda_graphs:
        _keep_outputs(tower)
    if config.token_budgets and tower.device.type == "cuda":
        from .token_budgets import token_budgets

        tower.run_batch = token_budgets(tower, config.token_budgets)
    return settings


class CompiledBlocks:
    """Runs all blocks by the same compiled code, which takes their weights as inputs.

    torch compiles again for a batch of one image, with and without gradients, and for other kinds of
    arguments. Beyond torch's limit on recompilations, blocks run uncompiled.
    """

    def __init__(self, settings: CompileSettings) -> None:
        self._run = compiled_function(settings)
        self._any_number = settings.dynamic is None

    def __call__(self, block: nn.Module, hidden_states: Tensor, **inputs: Any) -> Tensor:
        import torch

        if self._any_number and not torch.compiler.is_compiling():
            torch._dynamo.maybe_mark_dynamic(hidden_states, 0)
        return _or_uncompiled(self._run, block, hidden_states, inputs)


class FrozenBlocks:
    """Runs blocks by compiled code that holds their weights as constants, for inference only.

    With gradients or in training mode a block runs uncompiled, and what was compiled of it is dropped. A
    block whose weights have changed is compiled again; torch does not count what is written through
    ``.data``, so such a write between two runs without gradients stays unseen. Without dynamic shapes, every
    batch size compiles every block; identical blocks are found in inductor's cache.
    """

    def __init__(self, settings: CompileSettings) -> None:
        self._settings = settings
        self._frozen: dict[nn.Module, tuple[tuple[Any, ...], Callable[..., Tensor]]] = {}

    def __call__(self, block: nn.Module, hidden_states: Tensor, **inputs: Any) -> Tensor:
        import torch
        from torch._inductor import config as inductor

        if torch.is_grad_enabled() or block.training:
            self._frozen.pop(block, None)  # an optimizer may write to weights through .data
            return run_block(block, hidden_states, **inputs)
        weights = _identity(block)
        known, run = self._frozen.get(block, (None, None))
        if run is None or known != weights:
            run = compiled_function(self._settings)
            self._frozen[block] = (weights, run)
        # A patch and not one of torch.compile's options: dynamo needs it too, to tell equal blocks apart.
        with inductor.patch(freezing=True):
            return _or_uncompiled(run, block, hidden_states, inputs)


def compiled_function(settings: CompileSettings) -> Callable[..., Tensor]:
    """Return ``run(block, hidden_states, inputs)``, compiled, with a code object of its own.

    dynamo keeps compiled code, and counts towards its limit, by code object. All towers of a family in the
    process share the code object of a block's forward, so the ninth of them would find the limit used up.
    """
    import torch

    own = FunctionType(_run.__code__.replace(), _run.__globals__, _run.__name__)
    return torch.compile(
        own, fullgraph=True, backend=settings.backend, dynamic=settings.dynamic, **settings.options
    )


def _run(block: nn.Module, hidden_states: Tensor, inputs: dict[str, Any]) -> Tensor:
    return run_block(block, hidden_states, **inputs)


def _or_uncompiled(
    run: Callable[..., Tensor], block: nn.Module, hidden_states: Tensor, inputs: dict[str, Any]
) -> Tensor:
    from torch._dynamo.exc import FailOnRecompileLimitHit

    try:
        return run(block, hidden_states, inputs)
    except FailOnRecompileLimitHit:
        message = (
            "this kind of batch runs uncompiled: torch's limit on recompilations of a block is reached; "
            "raise torch._dynamo.config.recompile_limit to compile it too"
        )
        warnings.warn(message, stacklevel=2)
        return _run(block, hidden_states, inputs)


def _identity(block: nn.Module) -> tuple[Any, ...]:
    """Return a value that changes when a weight is written to or replaced."""
    weights = [*block.parameters(), *block.buffers()]
    return tuple((weight.data_ptr(), weight.is_inference() or weight._version) for weight in weights)


def _keep_outputs(tower: VisionTower) -> None:
    """Copy the tower's outputs, which the CUDA graphs' next run would overwrite."""
    import torch
    from torch.utils._pytree import tree_map

    def begin(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def copy(module: nn.Module, args: tuple[object, ...], output: Features) -> Features:
        copied: Features = tree_map(torch.clone, output)
        return copied

    tower.register_forward_pre_hook(begin, with_kwargs=True)
    tower.register_forward_hook(copy)
