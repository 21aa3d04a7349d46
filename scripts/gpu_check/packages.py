"""Which of the packages that matter here are installed."""

from __future__ import annotations

import importlib.metadata
from typing import NamedTuple


class FlashPackage(NamedTuple):
    distribution: str
    module: str
    backend: str
    """The package's name for what runs its kernels."""


FLASH_PACKAGES = (
    FlashPackage("flash-attn", "flash_attn", "flash_attention_2"),
    FlashPackage("flash-attn-3", "flash_attn_interface", "flash_attention_3"),
    FlashPackage("flash-attn-4", "flash_attn.cute", "flash_attention_4"),
)


def versions(*distributions: str) -> dict[str, str]:
    return {name: version(name) or "not installed" for name in distributions}


def version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
