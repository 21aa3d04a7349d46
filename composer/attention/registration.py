"""Making transformers know the attention backend that was chosen."""

from __future__ import annotations

from .backends import AttentionBackend, AttentionChoice, plugin_function


def register_attention(choice: AttentionChoice, *, packed: bool) -> str:
    """Make transformers know the chosen backend and return its name there.

    Raises:
        BackendError: Its package cannot be imported.
        PluginError: The plugin that offers it cannot be used.
    """
    if packed:
        from .packed import register_packed_attention

        return register_packed_attention(choice.backend)
    if not isinstance(choice.backend, AttentionBackend):
        from transformers import AttentionInterface, AttentionMaskInterface
        from transformers.masking_utils import sdpa_mask

        AttentionInterface.register(choice.implementation, plugin_function(choice.backend))
        AttentionMaskInterface.register(choice.implementation, sdpa_mask)
    return choice.implementation
