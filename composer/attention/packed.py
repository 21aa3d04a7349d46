"""Register attention over packed sequences with transformers, one attention function per backend."""

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

# None contains "flash", "sdpa" or "flex_attention": transformers would take it for a backend of its own, look
# for a kernel, or refuse a class that does not declare support.
_NAMES = {
    AttentionBackend.SDPA: "vc_packed",
    AttentionBackend.EAGER: "vc_packed_eager",
    AttentionBackend.VARLEN: "vc_packed_varlen",
    AttentionBackend.FLEX_ATTENTION: "vc_packed_flex",
    AttentionBackend.FLASH_ATTENTION_2: "vc_packed_fa2",
    AttentionBackend.FLASH_ATTENTION_3: "vc_packed_fa3",
    AttentionBackend.FLASH_ATTENTION_4: "vc_packed_fa4",
}


_ON_DEVICE = frozenset(
    _NAMES[backend]
    for backend in (
        AttentionBackend.VARLEN,
        AttentionBackend.FLASH_ATTENTION_2,
        AttentionBackend.FLASH_ATTENTION_3,
        AttentionBackend.FLASH_ATTENTION_4,
    )
)


def reads_lengths_on_device(name: str | None) -> bool:
    """Return whether attention of that name in transformers launches the same kernels for any lengths."""
    return name in _ON_DEVICE


def register_packed_attention(backend: AttentionBackend | str = AttentionBackend.SDPA) -> str:
    """Register :func:`packed_attention` on ``backend`` with transformers.

    Args:
        backend: A built-in backend, or the name of a registered one that runs packed images.

    Returns:
        The name under which transformers knows it.

    Raises:
        BackendError: If the package with the backend's kernels cannot be imported.
        PluginError: If the plugin that offers the backend cannot be used.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if isinstance(backend, AttentionBackend):
        name = _NAMES[backend]
        function: Callable[..., Any] = partial(packed_attention, kernel=packed_kernel(backend))
    else:
        name = f"vc_packed_{backend.encode().hex()}"  # in hex, so that no plugin's name has those words in it
        function = partial(_plugin_attention, plugin_function(backend))
    AttentionInterface.register(name, function)
    # Without a mask function for the name, encoders that pass a mask would attend to everything.
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
    """Attend inside each segment of a packed sequence, without a (tokens, tokens) mask.

    Args:
        module: The attention module; not used.
        query: (1, heads, tokens, head_size).
        key: Like ``query``; if it has fewer heads, each of them serves several heads of the query.
        value: Like ``key``. The output has its dtype: a float32 rope may have raised that of query and key.
        attention_mask: The segments, from modules that pass on no other argument.
        segments: Which tokens attend to each other.
        scaling: Factor on the products of queries and keys; None: 1 / sqrt(head_size).
        dropout: Probability with which attention weights are dropped.
        kernel: The function that computes attention.

    Returns:
        (1, tokens, heads, head_size), and None in place of attention weights.

    Raises:
        InputError: If the segments are missing.
        BackendError: If dropout is asked for and the backend has none.
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
            "attention over a packed sequence needs its Segments as `segments` or `attention_mask`, but got "
            f"{type(found).__name__}"
        )
    return found


def _with_heads(tensor: Tensor, heads: int) -> Tensor:
    return tensor if tensor.shape[1] == heads else tensor.repeat_interleave(heads // tensor.shape[1], dim=1)
