"""When numba is loaded: not for a few images, and not where it is missing."""

from __future__ import annotations

import subprocess
import sys

import numba
import pytest

from vision_composer.images import compiled

RESIZED = """
import sys
from PIL import Image
from vision_composer.images.resampling import resize
image = Image.new("RGB", (1024, 1024))
for number in range({images}):
    resize(image, (100, 90), 3)
print(*("numba" in sys.modules, "torch" in sys.modules))
"""


@pytest.fixture
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_taken", 0)


@pytest.mark.parametrize(("images", "loaded"), [(8, "False"), (9, "True")])
def test_a_process_loads_numba_when_it_has_resized_eight_megapixels(images: int, loaded: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RESIZED.format(images=images)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [loaded, "False"]


@pytest.mark.usefixtures("_fresh")
def test_those_who_do_not_count_take_what_others_had_loaded() -> None:
    assert compiled.passes() is None
    assert compiled.passes(1 << 22) is None
    assert compiled.passes(1 << 22) is None
    assert compiled.passes() is compiled.passes(5)
    assert compiled.passes() is not None


@pytest.mark.usefixtures("_fresh")
def test_it_can_be_loaded_at_once() -> None:
    assert compiled.load()
    assert compiled.passes() is not None


def test_a_numba_that_does_not_work_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("no such instruction")

    monkeypatch.setattr(numba, "njit", broken)
    monkeypatch.delitem(sys.modules, "vision_composer.images.passes", raising=False)
    monkeypatch.delattr("vision_composer.images.passes", raising=False)
    compiled._loaded.cache_clear()
    try:
        with pytest.warns(UserWarning, match="so Pillow resizes images: no such instruction"):
            assert not compiled.load()
    finally:
        compiled._loaded.cache_clear()


def test_without_numba_there_is_nothing_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "vision_composer.images.passes", raising=False)
    monkeypatch.delattr("vision_composer.images.passes", raising=False)
    compiled._loaded.cache_clear()
    try:
        assert not compiled.load()
        assert compiled.passes() is None
    finally:
        compiled._loaded.cache_clear()
