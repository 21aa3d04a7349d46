"""The offline job: images in, files of features out.

What is listed here is loaded when it is first asked for: worker processes need none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .job import encode_dataset
    from .pooling import register_pooler
    from .reading import read_features
    from .single import EncodeSummary, encode_images, expand_sources, output_file

__all__ = [
    "EncodeSummary",
    "encode_dataset",
    "encode_images",
    "expand_sources",
    "output_file",
    "read_features",
    "register_pooler",
]

_HOME = {
    "job": ("encode_dataset",),
    "pooling": ("register_pooler",),
    "reading": ("read_features",),
    "single": ("EncodeSummary", "encode_images", "expand_sources", "output_file"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value
