"""Choose the attention backend that runs a tower's blocks, and tell why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from ..errors import BackendError
from ..schemas import ATTENTION_BACKEND_PLUGINS
from ..text import did_you_mean
from .requirements import FlashPackage, Requirements, Situation

if TYPE_CHECKING:
    import torch


class AttentionBackend(Enum):
    """The attention implementations; values are their names in configs and in transformers."""

    EAGER = "eager"
    SDPA = "sdpa"
    VARLEN = "varlen"
    FLEX_ATTENTION = "flex_attention"
    FLASH_ATTENTION_2 = "flash_attention_2"
    FLASH_ATTENTION_3 = "flash_attention_3"
    FLASH_ATTENTION_4 = "flash_attention_4"


# In order of preference, fastest first; the first that can work is chosen. All compute the same. Kernels that
# are written for the GPU at hand come first. varlen runs all images of a batch in one launch; sdpa needs one
# launch for each size. The function of flash-attn-4 is no operator of torch, which torch.compile could trace;
# where torch is switched to its kernels, varlen runs them. The kernels of the package flash-attn are built
# into torch, and the package calls them through more Python: so it comes after sdpa, which always works,
# among those that run only when asked for.
REQUIREMENTS: dict[AttentionBackend, Requirements] = {
    AttentionBackend.FLASH_ATTENTION_3: Requirements(
        merit="its kernels are written for this GPU",
        cuda_only=True,
        half_only=True,
        capabilities=(9, 9),
        head_sizes=(1, 256),
        head_multiple=8,
        package=FlashPackage("flash-attn-3", "flash_attn_interface", torch_name="FA3"),
        declared="_supports_flash_attn",
    ),
    AttentionBackend.VARLEN: Requirements(
        merit="all images in one launch of torch's flash kernels",
        cuda_only=True,
        packed_only=True,
        half_only=True,
        capabilities=(8, None),
        head_sizes=(1, 256),
        head_multiple=8,
    ),
    AttentionBackend.FLASH_ATTENTION_4: Requirements(
        merit="its kernels are written for this GPU",
        cuda_only=True,
        half_only=True,
        capabilities=(9, 10),
        head_sizes=(1, 128),
        head_multiple=8,
        traceable=False,
        package=FlashPackage("flash-attn-4", "flash_attn.cute", torch_name="FA4"),
        declared="_supports_flash_attn",
    ),
    AttentionBackend.SDPA: Requirements(merit="torch's fused kernels", declared="_supports_sdpa"),
    AttentionBackend.FLASH_ATTENTION_2: Requirements(
        cuda_only=True,
        half_only=True,
        capabilities=(8, None),
        head_sizes=(1, 256),
        package=FlashPackage("flash-attn", "flash_attn"),
        declared="_supports_flash_attn",
    ),
    AttentionBackend.FLEX_ATTENTION: Requirements(
        cpu_reference=True, head_sizes=(16, None), declared="_supports_flex_attn"
    ),
    AttentionBackend.EAGER: Requirements(merit="plain matrix products"),
}

_ASSUMED_CAPABILITY = (8, 0)
"""Compute capability assumed of a GPU that is not in this machine: the oldest with flash kernels in torch."""


@dataclass(frozen=True)
class AttentionChoice:
    """The backend that was chosen, and why.

    Attributes:
        backend: The chosen backend; the name of a plugin's backend.
        reason: Why it was chosen.
        passed_over: Every other built-in backend, and why it was not chosen.
        working: The built-in backends that could run here, in order of preference.
        note: What was assumed about a device that is not in this machine; else empty.
    """

    backend: AttentionBackend | str
    reason: str
    passed_over: dict[AttentionBackend, str]
    working: tuple[AttentionBackend, ...] = ()
    note: str = ""

    @property
    def implementation(self) -> str:
        """The backend's name in configs, and in transformers too unless images are packed."""
        return self.backend.value if isinstance(self.backend, AttentionBackend) else self.backend


def register_attention_backend(name: str, function: Callable[..., Any]) -> None:
    """Make ``attn_backend: name`` run ``function``, in YAML too.

    Args:
        name: The name to use in configs.
        function: An attention function of transformers: ``function(module, query, key, value,
            attention_mask, scaling=..., dropout=..., **kwargs)``. query, key and value are (images, heads,
            tokens, head size); it returns the output (images, tokens, heads, head size), and the attention
            weights or None. A mask has the form of sdpa's. If the function has a true attribute ``packed``,
            it runs packed images too: it is then given one sequence, (1, heads, tokens, head size), with
            ``cu_seqlens`` (pieces + 1, int32, on the device: where each piece begins, and the end) and
            ``max_seqlen``, an int. A piece is an image, a frame or a window.

    Raises:
        InputError: If the name is taken or malformed, or ``function`` is not callable.
    """
    ATTENTION_BACKEND_PLUGINS.register(name, function)


def select_attn_backend(
    head_size: int,
    dtype: torch.dtype,
    device: torch.device,
    *,
    override: AttentionBackend | str | None = None,
    packed: bool = False,
    training: bool = False,
    compiled: bool = False,
    model_class: type | None = None,
) -> AttentionChoice:
    """Choose the attention backend of a tower.

    Args:
        head_size: Width of one attention head.
        dtype: The dtype of the parameters.
        device: Where the tower will run. A CUDA device that is not in this machine is assumed to have compute
            capability 8.0 and the packages of this machine; the choice's note says so.
        override: The backend to use, which may be a registered one; None or ``"auto"`` takes the first that
            works.
        packed: Whether images of different sizes share one sequence.
        training: Whether gradients are needed.
        compiled: Whether torch.compile must trace blocks whole.
        model_class: transformers' class of a dense tower, which must support the backend too.

    Raises:
        BackendError: If the override is unknown or cannot work here; the message says why, and which
            backends work.
        PluginError: If the plugin that offers the override cannot be used.
    """
    capability, note = _capability(device)
    situation = Situation(
        device.type,
        capability,
        dtype,
        head_size,
        packed=packed,
        training=training,
        compiled=compiled,
        model_class=None if packed else model_class,
    )
    obstacles = {backend: needs.obstacle(situation) for backend, needs in REQUIREMENTS.items()}
    working = tuple(backend for backend, obstacle in obstacles.items() if obstacle is None)
    if override is None or override == "auto":
        chosen: AttentionBackend | str = working[0]
        reason = f"the first that works here: {REQUIREMENTS[working[0]].merit}"
        otherwise = f"{working[0].value} is preferred"
    else:
        chosen = _insist(override, obstacles, packed=packed)
        reason = "asked for"
        otherwise = f"{chosen.value if isinstance(chosen, AttentionBackend) else chosen} was asked for"
    passed_over = {
        backend: obstacle or otherwise for backend, obstacle in obstacles.items() if backend is not chosen
    }
    return AttentionChoice(chosen, reason, passed_over, working, note)


def plugin_obstacle(name: str, *, packed: bool) -> str | None:
    """Return why the backend that a plugin registered as ``name`` cannot run; None if it can.

    Raises:
        PluginError: If the plugin cannot be used.
    """
    if packed and not getattr(plugin_function(name), "packed", False):
        return "does not run packed images: its function has no attribute packed = True"
    return None


def plugin_function(name: str) -> Callable[..., Any]:
    """Return the attention function that a plugin registered.

    Raises:
        BackendError: If no plugin registered that name.
        PluginError: If the plugin cannot be used.
    """
    function = ATTENTION_BACKEND_PLUGINS.get(name)
    if function is None:
        raise BackendError(
            f"no attention backend {name!r} is registered; `vision-composer plugins` lists those that are"
        )
    return function


def _insist(
    override: AttentionBackend | str, obstacles: dict[AttentionBackend, str | None], *, packed: bool
) -> AttentionBackend | str:
    chosen: AttentionBackend | str
    if isinstance(override, str) and override in ATTENTION_BACKEND_PLUGINS:
        chosen, obstacle = override, plugin_obstacle(override, packed=packed)
    else:
        chosen = _named(override)
        override, obstacle = chosen.value, obstacles[chosen]
    if obstacle:
        working = ", ".join(other.value for other, reason in obstacles.items() if reason is None)
        raise BackendError(f"attention backend {override} {obstacle}; these work here: {working}")
    return chosen


def _named(name: AttentionBackend | str) -> AttentionBackend:
    try:
        return AttentionBackend(name)
    except ValueError:
        names = [*(backend.value for backend in AttentionBackend), *ATTENTION_BACKEND_PLUGINS.names()]
        raise BackendError(
            f"unknown attention backend {name!r}{did_you_mean(name, names)}; known: {', '.join(names)}"
        ) from None


def _capability(device: torch.device) -> tuple[tuple[int, int], str]:
    """Return the compute capability of a CUDA device, and what was assumed of one that is not here."""
    import torch

    if device.type != "cuda":
        return (0, 0), ""
    if (device.index or 0) < torch.cuda.device_count():
        return torch.cuda.get_device_capability(device), ""
    assumed = ".".join(map(str, _ASSUMED_CAPABILITY))
    note = (
        f"{device} is not in this machine; compute capability {assumed} and this machine's packages are "
        "assumed"
    )
    return _ASSUMED_CAPABILITY, note


def get_vit_attn_backend(
    head_size: int,
    dtype: torch.dtype,
    *,
    attn_backend_override: AttentionBackend | None = None,
    device: torch.device | str | None = None,
) -> AttentionBackend:
    """Choose the attention backend for a vision transformer that takes images of one size as a batch.

    Args:
        head_size: Width of one attention head.
        dtype: The dtype of the parameters.
        attn_backend_override: The backend to use; None takes the first that works.
        device: Where it will run. Default: torch's default device.

    Raises:
        BackendError: If the override cannot work here.
    """
    import torch

    where = torch.get_default_device() if device is None else torch.device(device)
    backend = select_attn_backend(head_size, dtype, where, override=attn_backend_override).backend
    if not isinstance(backend, AttentionBackend):
        raise BackendError(
            f"attention backend {backend} belongs to a plugin; name it in a config's attn_backend instead"
        )
    return backend
