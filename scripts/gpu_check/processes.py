"""How the check starts itself again: its command, and an environment in which the package is found."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path

THIS = (sys.executable, str(Path(__file__).resolve().parent))
ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict[str, str]:
    """Offline, and with the package of this checkout if none is installed."""
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    path = os.environ.get("PYTHONPATH", "")
    if importlib.util.find_spec("vision_composer") is None:
        path = os.pathsep.join(filter(None, (str(linked_checkout()), path)))
    return {**os.environ, **quiet, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


@cache
def linked_checkout() -> Path:
    """A folder with ``vision_composer`` in it, made of links into the checkout."""
    folder = Path(tempfile.mkdtemp(prefix="vision-composer-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    package = folder / "vision_composer"
    package.mkdir()
    parts = [part for part in (ROOT / "composer").iterdir() if part.name != "__pycache__"]
    for part in (*parts, ROOT / "schemas", ROOT / "presets"):
        (package / part.name).symlink_to(part)
    return folder
