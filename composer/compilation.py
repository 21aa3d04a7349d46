"""torch.compile for a composed tower."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import BackendError
from .schemas import CompileConfig, TowerConfig
from .schemas.base import did_you_mean

if TYPE_CHECKING:
    from .tower import ComposedVisionEncoder


def should_torch_compile_mm_vit(config: TowerConfig) -> bool:
    """Whether the config asks for torch.compile."""
    return config.compile is not False


def compile_tower(tower: ComposedVisionEncoder, config: CompileConfig) -> None:
    """Compile ``tower`` in place.

    With ``scope: blocks`` every block is compiled by itself; blocks of one shape share the compiled code,
    so the cost is that of one block. Compilation happens at the first forward.

    Raises:
        BackendError: torch.compile has no backend of that name.
    """
    import torch

    backends = torch._dynamo.list_backends(exclude_tags=())
    if config.backend not in backends:
        raise BackendError(
            f"torch.compile has no backend {config.backend!r}{did_you_mean(config.backend, backends)}; "
            f"known: {', '.join(backends)}"
        )
    options: dict[str, Any] = {"backend": config.backend, "dynamic": config.dynamic}
    if config.mode != "default":
        options["mode"] = config.mode
    for module in tower.blocks if config.scope == "blocks" else (tower,):
        module.compile(**options)
