"""Register the chosen attention backend with transformers."""

from __future__ import annotations

from .backends import AttentionBackend, AttentionChoice, plugin_function


def register_attention(choice: AttentionChoice, *, packed: bool) -> str:
    """Register the chosen backend with transformers and return its name there.

    Raises:
        BackendError: If the backend's package cannot be imported.
        PluginError: If the plugin that offers the backend cannot be used.
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
