"""Tell transformers' Auto classes of the models here."""

from __future__ import annotations


def register_transformers() -> None:
    """Let ``AutoConfig``, ``AutoModel`` and the like load what the bridges here have saved.

    Call it before ``from_pretrained`` in a process that has not called ``encoder.as_transformers()``.
    """
    from transformers import AutoConfig, AutoModel

    from .vision import VisionComposerConfig, VisionComposerModel

    AutoConfig.register(VisionComposerConfig.model_type, VisionComposerConfig, exist_ok=True)
    AutoModel.register(VisionComposerConfig, VisionComposerModel, exist_ok=True)
