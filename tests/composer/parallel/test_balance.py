"""Laws of the load balance assignment."""

from __future__ import annotations

import heapq
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_composer import get_load_balance_assignment
from vision_composer.errors import InputError
from vision_composer.parallel.balance import assign_by_size

sizes_strategy = st.lists(st.integers(0, 5000), max_size=40)
gpus_strategy = st.integers(1, 9)


@given(sizes_strategy, gpus_strategy)
def test_every_image_goes_to_exactly_one_gpu_and_the_loads_add_up(sizes: list[int], gpus: int) -> None:
    order, counts, loads = get_load_balance_assignment(sizes, gpus)
    assert sorted(order) == list(range(len(sizes)))
    assert len(counts) == len(loads) == gpus
    start = 0
    for count, load in zip(counts, loads, strict=True):
        assert sum(sizes[i] for i in order[start : start + count]) == load
        start += count
    assert start == len(sizes)


def test_it_is_longest_processing_time_first_with_ties_to_the_lower() -> None:
    random = Random(0)
    for _ in range(10_000):
        largest = random.choice((1, 3, 50, 5000))
        sizes = [random.randint(0, largest) for _ in range(random.randint(0, 24))]
        check_longest_first(sizes, random.randint(1, 9))


def check_longest_first(sizes: list[int], gpus: int) -> None:
    heap = [(0, gpu) for gpu in range(gpus)]
    assignment: list[list[int]] = [[] for _ in range(gpus)]
    for size, image in sorted((-size, image) for image, size in enumerate(sizes)):
        load, gpu = heapq.heappop(heap)
        assignment[gpu].append(image)
        heapq.heappush(heap, (load - size, gpu))
    order, counts, _ = get_load_balance_assignment(sizes, gpus)
    assert order == [image for images in assignment for image in images]
    assert counts == [len(images) for images in assignment]


@given(sizes_strategy, gpus_strategy)
def test_grahams_bound(sizes: list[int], gpus: int) -> None:
    _, _, loads = get_load_balance_assignment(sizes, gpus)
    lower_bound = max([0, *sizes, sum(sizes) / gpus])
    assert max(loads) <= (2 - 1 / gpus) * lower_bound + 1e-9


def test_examples() -> None:
    assert get_load_balance_assignment([]) == ([], [0, 0], [0, 0])
    assert get_load_balance_assignment([1000, 100, 200, 50], 2) == ([0, 2, 1, 3], [1, 3], [1000, 350])
    with pytest.raises(InputError, match="at least 1"):
        get_load_balance_assignment([1], 0)
    with pytest.raises(InputError, match="negative"):
        get_load_balance_assignment([-1], 2)


def test_the_images_of_a_rank_are_ascending() -> None:
    assert assign_by_size([1, 5, 3, 2], 1) == [[0, 1, 2, 3]]
    assert assign_by_size([1, 5, 3, 2], 2) == [[0, 1], [2, 3]]
