"""Checkpoints whose tensors have another library's names: one file a library, and what reads them."""

from __future__ import annotations

from .translate import foreign_prefixes, translated

__all__ = ["foreign_prefixes", "translated"]
