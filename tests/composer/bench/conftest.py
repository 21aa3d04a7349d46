"""What all tests of benches share."""

from __future__ import annotations

import pytest

from vision_composer.bench import measure


@pytest.fixture(autouse=True)
def small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peak of the machine does not matter here, and takes long to find."""
    monkeypatch.setattr(measure, "_SIDES", {"cpu": (32, 64)})
