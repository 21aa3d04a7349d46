"""Set-up for every test process."""

from __future__ import annotations

import os

import pytest
from support.tiny_configs import ALL

# Tests run several processes side by side, on tensors too small to be worth a second thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the variants of tiny encoders (``clip_vision_model/other``) to ``make test-all``."""
    for item in items:
        values = getattr(item, "callspec", None)
        if values is not None and any(_is_variant(value) for value in values.params.values()):
            item.add_marker(pytest.mark.slow)


def _is_variant(value: object) -> bool:
    names = value if isinstance(value, tuple) else (value,)
    return any(isinstance(name, str) and "/" in name and name in ALL for name in names)
