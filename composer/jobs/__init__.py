"""The offline job: files and folders of images in, a Parquet file of features out."""

from __future__ import annotations

from .job import EncodeSummary, encode_images
from .sinks import output_file, read_features
from .sources import expand_sources

__all__ = ["EncodeSummary", "encode_images", "expand_sources", "output_file", "read_features"]
