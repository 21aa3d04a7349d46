"""The offline job: images in, files of features out."""

from __future__ import annotations

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
