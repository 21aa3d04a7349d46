"""I-JEPA: ``IJepaConfig`` of transformers."""

from __future__ import annotations

from typing import ClassVar, Literal

from .vit import ViTFields


class IJepaEncoderConfig(ViTFields):
    """I-JEPA's ViT: no class token, learned positions, no pooling head."""

    inert_fields: ClassVar[frozenset[str]] = ViTFields.inert_fields | {"pooler_output_size", "pooler_act"}

    model_type: Literal["ijepa"]
