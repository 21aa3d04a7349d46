"""Arrays through shared memory: the same on the other side, whatever their dtype, shape and size."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from vision_composer.jobs import arena
from vision_composer.jobs.arena import Arena, make_memory

PAGE = 4096


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Arena, Arena]]:
    """The ends of one memory that begins with a single page: who writes, and who reads."""
    monkeypatch.setattr(arena, "SIZE", PAGE)
    memory = make_memory()
    writer, reader = Arena(memory), Arena(os.dup(memory))
    yield writer, reader
    writer.close()
    reader.close()


def test_arrays_come_out_as_they_went_in(ends: tuple[Arena, Arena]) -> None:
    writer, reader = ends
    arrays = {
        "odd": np.arange(7, dtype=np.uint8),  # what follows is aligned all the same
        "half": np.array([[1.5, np.nan], [-0.0, 6e-8]], np.float16),
        "turned": np.arange(12, dtype=np.float64).reshape(3, 4).T,
        "number": np.array(2**40),
        "flags": np.array([True, False]),
        "none": np.empty((2, 0, 3)),
    }
    packed = writer.put(arrays)
    assert all(start % 64 == 0 for *_, start in packed.values())
    found = reader.get(packed, writer.size)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_what_was_read_is_the_readers_own(ends: tuple[Arena, Arena]) -> None:
    writer, reader = ends
    first = reader.get(writer.put({"a": np.ones(9)}), writer.size)["a"]
    writer.clear()
    second = reader.get(writer.put({"a": np.zeros(9)}), writer.size)["a"]
    assert (first == 1).all()
    assert (second == 0).all()


def test_the_memory_grows_as_needed_and_shrinks_again(ends: tuple[Arena, Arena]) -> None:
    writer, reader = ends
    small, large = np.arange(300), np.arange(3000)
    packed = writer.put({"small": small, "large": large})
    assert writer.size >= small.nbytes + large.nbytes
    found = reader.get(packed, writer.size)
    assert np.array_equal(found["small"], small)
    assert np.array_equal(found["large"], large)
    writer.clear()
    assert writer.size == PAGE
    assert np.array_equal(reader.get(writer.put({"a": small}), writer.size)["a"], small)
    assert reader.size == PAGE


def test_nothing_stays_open() -> None:
    before = set(os.listdir("/proc/self/fd"))
    Arena(make_memory()).close()
    assert set(os.listdir("/proc/self/fd")) == before
