"""torch.compile for a composed tower."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FunctionType
from typing import TYPE_CHECKING, Any

from ..errors import BackendError
from ..schemas import CompileConfig, TowerConfig
from ..text import did_you_mean
from ..tower.module import VisionTower, run_block

if TYPE_CHECKING:
    from torch import Tensor, nn


def should_torch_compile_mm_vit(config: TowerConfig) -> bool:
    """Whether the config asks for torch.compile."""
    return config.compile is not False


@dataclass(frozen=True)
class CompileSettings:
    """What a config's ``compile`` comes down to for one tower on one device.

    Attributes:
        backend: torch.compile's backend.
        dynamic: Whether one code serves batches and token counts of any size; None for any number of images
            of one size, which is sooner compiled and runs faster.
        freeze: Whether weights are constants of the compiled code.
        cuda_graphs: Whether the code runs as CUDA graphs, whose outputs the next run overwrites.
        options: torch.compile's ``mode`` or ``options``.
    """

    backend: str
    dynamic: bool | None
    freeze: bool
    cuda_graphs: bool
    options: dict[str, Any] = field(default_factory=dict)


def compile_settings(config: CompileConfig, device_type: str, *, fixed_shapes: bool) -> CompileSettings:
    """Decide what ``config`` means.

    Weights are frozen for fixed shapes only: MKL packs a weight for one number of rows, and with a symbolic
    number inductor puts oneDNN in its place, with the activation fused into it. In float32 without AVX-512
    that is slower than the uncompiled block.

    Args:
        config: What was asked for.
        device_type: ``cpu``, ``cuda``, ...
        fixed_shapes: Whether the tower's batches differ in their number of images only.
    """
    dynamic = config.dynamic
    graphs = device_type == "cuda" and config.mode in ("reduce-overhead", "max-autotune")
    freeze = config.mode == "max-performance" and device_type == "cpu" and fixed_shapes and not dynamic
    options: dict[str, Any] = {}
    if freeze:
        options["options"] = {"max_autotune": not _avx2(), "autotune_num_choices_displayed": 0}
    elif config.mode == "max-performance" and device_type != "cpu":
        options["mode"] = "max-autotune-no-cudagraphs"
    elif config.mode not in ("default", "max-performance"):
        options["mode"] = config.mode
    elif config.backend == "inductor" and device_type == "cpu" and _avx2():
        from .cpu_products import PlainProducts

        options["options"] = {"post_grad_custom_post_pass": PlainProducts()}
    if dynamic is None and (freeze or (graphs and fixed_shapes)):
        dynamic = False
    elif dynamic is None and not fixed_shapes:
        dynamic = True
    return CompileSettings(config.backend, dynamic, freeze, graphs, options)


def _avx2() -> bool:
    """Whether this processor has AVX2 and no AVX-512, where float32 products are best left to MKL.

    Those of inductor's own took up to three times as long there. Tuning would find that out on a machine at
    rest; on a busy one it chooses by chance, and the choice stays in the cache.
    """
    import torch

    return torch.backends.cpu.get_cpu_capability() == "AVX2"


def compile_tower(tower: VisionTower, config: CompileConfig) -> None:
    """Compile ``tower`` in place. Compilation itself happens at the first forward.

    Raises:
        BackendError: torch.compile has no backend of that name, or not for a whole tower.
    """
    import torch

    backends = torch._dynamo.list_backends(exclude_tags=())
    if config.backend not in backends:
        raise BackendError(
            f"torch.compile has no backend {config.backend!r}{did_you_mean(config.backend, backends)}; "
            f"known: {', '.join(backends)}"
        )
    own_forward = tower.family.runs_own_forward
    settings = compile_settings(
        config, tower.device.type, fixed_shapes=not (tower.info.any_size or own_forward)
    )
    if config.scope == "tower" and settings.cuda_graphs:
        raise BackendError(
            f"compile.mode {config.mode} runs CUDA graphs, whose outputs the next forward overwrites; "
            "with it, leave compile.scope at blocks"
        )
    if config.scope == "tower":
        tower.compile(backend=settings.backend, dynamic=settings.dynamic, **settings.options)
    elif own_forward:  # transformers' forward calls the blocks, and may have graph breaks
        for block in tower.blocks:
            block.compile(backend=settings.backend, dynamic=settings.dynamic, **settings.options)
    else:
        tower.run_block = FrozenBlocks(settings) if settings.freeze else CompiledBlocks(settings)
    if settings.cuda_graphs:
        _keep_outputs(tower)


class CompiledBlocks:
    """Runs blocks by one compiled code: their weights are its inputs.

    Compiled again for a batch of one image, with or without gradients, and with other kinds of arguments;
    beyond torch's limit on recompilations blocks run uncompiled.
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
    """Runs blocks by code that has their weights as constants, packed and folded: for inference only.

    With gradients or in training mode a block runs uncompiled; one whose weights have changed is compiled
    again. Every batch size compiles every block; identical blocks are found in inductor's cache.
    """

    def __init__(self, settings: CompileSettings) -> None:
        self._settings = settings
        self._frozen: dict[nn.Module, tuple[tuple[Any, ...], Callable[..., Tensor]]] = {}

    def __call__(self, block: nn.Module, hidden_states: Tensor, **inputs: Any) -> Tensor:
        import torch
        from torch._inductor import config as inductor

        if torch.is_grad_enabled() or block.training:
            return run_block(block, hidden_states, **inputs)
        weights = _identity(block)
        known, run = self._frozen.get(block, (None, None))
        if run is None or known != weights:
            run = compiled_function(self._settings)
            self._frozen[block] = (weights, run)
        # Not among torch.compile's options: dynamo, too, has to know, to tell equal blocks apart.
        with inductor.patch(freezing=True):
            return _or_uncompiled(run, block, hidden_states, inputs)


def compiled_function(settings: CompileSettings) -> Callable[..., Tensor]:
    """``run(block, hidden_states, inputs)``, compiled, with a code object of its own.

    dynamo keeps what it compiled, and counts towards its limit, by code object. That of a block's forward is
    shared by all towers of the family in the process, so that the ninth would find the limit used up.
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
        message = "compiled code for as many kinds of batches as torch allows; this one runs uncompiled"
        warnings.warn(message, stacklevel=2)
        return _run(block, hidden_states, inputs)


def _identity(block: nn.Module) -> tuple[Any, ...]:
    """Changes when a weight is written to or replaced."""
    weights = [*block.parameters(), *block.buffers()]
    return tuple((weight.data_ptr(), weight.is_inference() or weight._version) for weight in weights)


def _keep_outputs(tower: VisionTower) -> None:
    """Let what a forward keeps and returns outlive the CUDA graphs' next run."""
    import torch
    from torch.utils._pytree import tree_map

    def begin(module: nn.Module, args: Any, kwargs: Any) -> None:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def copy(module: nn.Module, args: Any, output: Any) -> Any:
        return tree_map(torch.clone, output)

    tower.register_forward_pre_hook(begin, with_kwargs=True)
    tower.register_forward_hook(copy)
