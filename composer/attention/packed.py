"""Attention over a packed sequence, as attention functions of transformers: one per backend."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from ..errors import InputError
from .backends import AttentionBackend, plugin_function
from .packed_kernels import PackedKernel, packed_kernel
from .packed_op import attend_in_groups
from .segments import Segments

# Without "flash", "sdpa" or "flex_attention" in them: transformers would take them for its own, look for a
# kernel, or refuse a class that does not declare support.
_NAMES = {
    AttentionBackend.SDPA: "vc_packed",
    AttentionBackend.EAGER: "vc_packed_eager",
    AttentionBackend.VARLEN: "vc_packed_varlen",
    AttentionBackend.FLEX_ATTENTION: "vc_packed_flex",
    AttentionBackend.FLASH_ATTENTION_2: "vc_packed_fa2",
    AttentionBackend.FLASH_ATTENTION_3: "vc_packed_fa3",
    AttentionBackend.FLASH_ATTENTION_4: "vc_packed_fa4",
}


def register_packed_attention(backend: AttentionBackend | str = AttentionBackend.SDPA) -> str:
    """Make transformers know :func:`packed_attention` on ``backend``.

    Args:
        backend: A built-in backend, or the name of a registered one that runs packed images.

    Returns:
        Its name in transformers.

    Raises:
        BackendError: The package with its kernels cannot be imported.
        PluginError: The plugin that offers it cannot be used.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if isinstance(backend, AttentionBackend):
        name = _NAMES[backend]
        function: Callable[..., Any] = partial(packed_attention, kernel=packed_kernel(backend))
    else:
        name = f"vc_packed_{backend.encode().hex()}"  # so that no name brings those words back
        function = partial(_plugin_attention, plugin_function(backend))
    AttentionInterface.register(name, function)
    # A name without a mask function would have encoders that do pass a mask attend to everything.
    AttentionMaskInterface.register(name, sdpa_mask)
    return name


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Segments | None = None,
    *,
    segments: Segments | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    kernel: PackedKernel = attend_in_groups,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention inside each segment of a packed sequence; never a (tokens, tokens) mask.

    Args:
        module: The attention module; not used.
        query: (1, heads, tokens, head_size).
        key: Like ``query``; with fewer heads, each serves several of the query's.
        value: Like ``key``. Its dtype is that of the output: a float32 rope may have raised the others'.
        attention_mask: The segments, from modules that hand on nothing else.
        segments: Which tokens attend to each other.
        scaling: Factor on the products of queries and keys; None: 1 / sqrt(head_size).
        dropout: On attention weights.
        kernel: What runs it.

    Returns:
        (1, tokens, heads, head_size), and no weights.

    Raises:
        InputError: The segments are missing.
        BackendError: Dropout, and the backend has none.
    """
    key, value = (_with_heads(tensor, query.shape[1]) for tensor in (key, value))
    q, k, v = (tensor[0].transpose(0, 1).to(value.dtype) for tensor in (query, key, value))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    output = kernel(q, k, v, _found(segments, attention_mask), scale=scale, dropout=dropout)
    return output.unsqueeze(0), None


def _plugin_attention(
    function: Callable[..., Any],
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Segments | None = None,
    *,
    segments: Segments | None = None,
    **kwargs: Any,
) -> Any:
    found = _found(segments, attention_mask)
    kwargs |= {"cu_seqlens": found.cu_seqlens, "max_seqlen": found.max_length}
    return function(module, query, key, value, None, **kwargs)


def _found(segments: Segments | None, attention_mask: object) -> Segments:
    found = attention_mask if segments is None else segments
    if not isinstance(found, Segments):
        raise InputError(
            "attention over a packed sequence needs its Segments, as `segments` or as `attention_mask`, not "
            f"{type(found).__name__}"
        )
    return found


def _with_heads(tensor: Tensor, heads: int) -> Tensor:
    return tensor if tensor.shape[1] == heads else tensor.repeat_interleave(heads // tensor.shape[1], dim=1)
