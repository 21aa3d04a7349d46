"""Which attention implementation runs the blocks, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..errors import BackendError
from ..schemas import ATTENTION_BACKEND_PLUGINS
from ..schemas.base import did_you_mean

if TYPE_CHECKING:
    import torch


class AttentionBackend(Enum):
    """The attention implementations; values are transformers' names for them."""

    FLASH_ATTENTION_2 = "flash_attention_2"
    SDPA = "sdpa"
    FLEX_ATTENTION = "flex_attention"
    EAGER = "eager"


@dataclass(frozen=True)
class AttentionChoice:
    """The backend that was chosen (a registered one by its name), and for each one passed over, why."""

    backend: AttentionBackend | str
    reason: str
    passed_over: dict[AttentionBackend, str]

    @property
    def implementation(self) -> str:
        """transformers' name for the backend."""
        return self.backend.value if isinstance(self.backend, AttentionBackend) else self.backend


def register_attention_backend(name: str, function: Callable[..., Any]) -> None:
    """Make ``attn_backend: name`` run ``function``, in YAML too.

    Args:
        name: The name to use in configs.
        function: An attention function of transformers: ``function(module, query, key, value,
            attention_mask, scaling=..., dropout=..., **kwargs)``, with query, key and value (images, heads,
            tokens, head size), returns the output (images, tokens, heads, head size) and the attention
            weights or None. A mask, where there is one, is sdpa's.

    Raises:
        InputError: The name is taken or malformed, or ``function`` is not callable.
    """
    ATTENTION_BACKEND_PLUGINS.register(name, function)


def _why_not_flash(head_size: int, dtype: torch.dtype, device: torch.device) -> str | None:
    if device.type != "cuda":
        return f"runs on CUDA, not on {device.type}"
    if str(dtype) not in ("torch.float16", "torch.bfloat16"):
        return f"needs float16 or bfloat16, not {str(dtype).removeprefix('torch.')}"
    if head_size > 256:
        return f"needs a head size of at most 256, not {head_size}"
    if find_spec("flash_attn") is None:
        return "the flash-attn package is not installed"
    return None


def _why_not_flex(head_size: int, dtype: torch.dtype, device: torch.device) -> str | None:
    if device.type != "cuda":
        return f"is compiled for CUDA; on {device.type} it falls back to an unfused reference"
    return None


def _always(head_size: int, dtype: torch.dtype, device: torch.device) -> str | None:
    return None


# In order of preference: the first that can work is chosen. flex_attention and eager come behind sdpa, which
# always works, so that they run only when asked for: sdpa computes the same, faster.
_WHY_NOT: dict[AttentionBackend, Callable[[int, torch.dtype, torch.device], str | None]] = {
    AttentionBackend.FLASH_ATTENTION_2: _why_not_flash,
    AttentionBackend.SDPA: _always,
    AttentionBackend.FLEX_ATTENTION: _why_not_flex,
    AttentionBackend.EAGER: _always,
}


def select_attn_backend(
    head_size: int,
    dtype: torch.dtype,
    device: torch.device,
    *,
    override: AttentionBackend | str | None = None,
) -> AttentionChoice:
    """Choose the backend for a tower.

    Args:
        head_size: Width of one attention head.
        dtype: dtype of the parameters.
        device: Where the tower will run.
        override: The backend to insist on, a registered one too; None or ``"auto"`` takes
            the first that works.

    Raises:
        BackendError: The override is unknown or cannot work here; says why, and which ones would.
        PluginError: The plugin that offers the override cannot be used.
    """
    obstacles = {backend: why_not(head_size, dtype, device) for backend, why_not in _WHY_NOT.items()}
    if override is None or override == "auto":
        chosen = next(backend for backend, obstacle in obstacles.items() if obstacle is None)
        passed_over = {
            backend: obstacle or f"{chosen.value} is preferred"
            for backend, obstacle in obstacles.items()
            if backend is not chosen
        }
        return AttentionChoice(chosen, "the first that works here", passed_over)
    if isinstance(override, str) and (function := ATTENTION_BACKEND_PLUGINS.get(override)):
        _hand_over(override, function)
        return AttentionChoice(override, "asked for", {})
    backend = _named(override)
    if obstacle := obstacles[backend]:
        working = ", ".join(other.value for other, reason in obstacles.items() if reason is None)
        raise BackendError(f"attention backend {backend.value} {obstacle}; these work here: {working}")
    return AttentionChoice(backend, "asked for", {})


def _hand_over(name: str, function: Callable[..., Any]) -> None:
    """Make transformers know a registered backend."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(name, function)
    AttentionMaskInterface.register(name, sdpa_mask)


def _named(name: AttentionBackend | str) -> AttentionBackend:
    try:
        return AttentionBackend(name)
    except ValueError:
        names = [*(backend.value for backend in AttentionBackend), *ATTENTION_BACKEND_PLUGINS.names()]
        raise BackendError(
            f"unknown attention backend {name!r}{did_you_mean(name, names)}; known: {', '.join(names)}"
        ) from None


def get_vit_attn_backend(
    head_size: int,
    dtype: torch.dtype,
    *,
    attn_backend_override: AttentionBackend | None = None,
    device: torch.device | str | None = None,
) -> AttentionBackend:
    """The attention backend for a vision transformer.

    Args:
        head_size: Width of one attention head.
        dtype: dtype of the parameters.
        attn_backend_override: The backend to insist on.
        device: Where it will run; default: torch's default device.

    Raises:
        BackendError: The override cannot work here.
    """
    import torch

    where = torch.get_default_device() if device is None else torch.device(device)
    backend = select_attn_backend(head_size, dtype, where, override=attn_backend_override).backend
    if not isinstance(backend, AttentionBackend):
        raise BackendError(
            f"attention backend {backend} is a plugin's: ask for it in a config's attn_backend"
        )
    return backend
