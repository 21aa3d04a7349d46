"""The files of a checkpoint that reading it may open, by their names."""

from __future__ import annotations

from typing import Literal

from ..images.settings import PROCESSOR_FILES
from ..schemas.paths import TOWER_FILE

ADAPTER_CONFIG = "adapter_config.json"
SMALL = ("config.json", TOWER_FILE, ADAPTER_CONFIG, *PROCESSOR_FILES)
"""Files that a checkpoint may lack."""
_SUFFIX = {"safetensors": ".safetensors", "pickle": ".bin"}


def may_be_read(name: str, file_format: Literal["safetensors", "pickle"]) -> bool:
    """Whether reading a checkpoint may open its file of that name.

    Args:
        name: The file, relative to the checkpoint's folder.
        file_format: Which of the checkpoint's weights are read.
    """
    suffix = _SUFFIX[file_format]
    return "/" not in name and (name in SMALL or name.endswith((suffix, f"{suffix}.index.json")))
