"""What a checkpoint's files say of its image processor. Loads neither torch nor Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import WeightsError
from ..files import read_json

_CONFIG_FILES = ("processor_config.json", "preprocessor_config.json")
_CONFIG_BYTES = 1 << 20


def saved_values(folder: Path) -> tuple[Path | None, dict[str, Any]]:
    """Read the image processor's part of a checkpoint's processor config; return its file, too, if any."""
    for file in (folder / name for name in _CONFIG_FILES):
        if not file.exists():
            continue
        try:
            content = read_json(file, limit=_CONFIG_BYTES)
        except OSError as error:
            raise WeightsError(f"{file}: cannot be read: {error.strerror or error}") from error
        except ValueError as error:
            raise WeightsError(f"{file}: not readable as a JSON object: {error}") from error
        # Newer transformers nests the image processor's values.
        values = content.get("image_processor") if file.name == "processor_config.json" else content
        if values is None:
            continue
        if not isinstance(values, dict):
            raise WeightsError(f"{file}: expected the image processor's values as a JSON object")
        return file, values
    return None, {}
