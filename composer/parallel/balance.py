"""Who encodes which image."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, chain, pairwise

from ..errors import InputError

_STEPS = 500
"""Most exchanges that improve an assignment."""
_GOOD_ENOUGH = 5_000
"""The search ends when the busiest rank has less than one part in this more than the average."""


def get_load_balance_assignment(
    sizes: Sequence[int], num_gpus: int = 2
) -> tuple[list[int], list[int], list[int]]:
    """Deal images to GPUs, the largest first, each to the GPU with the least so far.

    That is Graham's longest-processing-time rule. Ties go to the earlier image and the lower GPU, so every
    process computes the same assignment.

    Args:
        sizes: Size of each image, in any unit of work.
        num_gpus: How many GPUs to deal to.

    Returns:
        The images' indices GPU by GPU, in the order they were dealt; how many each GPU got; and the total
        size each GPU got.

    Raises:
        InputError: If there is less than one GPU, or a size is negative.
    """
    if num_gpus < 1:
        raise InputError(f"num_gpus is {num_gpus}; there must be at least 1")
    if any(size < 0 for size in sizes):
        raise InputError("sizes cannot be negative")
    assignment: list[list[int]] = [[] for _ in range(num_gpus)]
    loads = [0] * num_gpus
    for image in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        gpu = loads.index(min(loads))
        assignment[gpu].append(image)
        loads[gpu] += sizes[image]
    return list(chain.from_iterable(assignment)), [len(images) for images in assignment], loads


def assign_by_size(sizes: Sequence[int], ranks: int) -> list[list[int]]:
    """The assignment of :func:`get_load_balance_assignment` as ascending images of every rank."""
    order, counts, _ = get_load_balance_assignment(sizes, ranks)
    return [sorted(order[start:end]) for start, end in pairwise([0, *accumulate(counts)])]


def assign_in_order(images: int, ranks: int) -> list[list[int]]:
    """Consecutive images to every rank, as evenly as can be."""
    bounds = [images * rank // ranks for rank in range(ranks + 1)]
    return [list(range(start, end)) for start, end in pairwise(bounds)]


def assign_by_cost(costs: Sequence[int], ranks: int) -> list[list[int]]:
    """Images to ranks so that the busiest has as little to do as can be found quickly.

    Starts with the largest first and then moves images off the busiest rank, or exchanges one of its images
    for a cheaper one, as long as that helps. Integers only, so that every process finds the same.

    Args:
        costs: Cost of each image, in any unit.
        ranks: How many ranks to deal to.

    Returns:
        The images of every rank, ascending.

    Raises:
        InputError: If there is less than one rank, or a cost is negative.
    """
    assignment = assign_by_size(costs, ranks)
    loads = [sum(costs[i] for i in images) for images in assignment]
    for _ in range(_STEPS):
        busiest = loads.index(max(loads))
        if (loads[busiest] * ranks - sum(loads)) * _GOOD_ENOUGH < sum(loads):
            break
        swap = _best_swap(costs, assignment, loads, busiest)
        if swap is None:
            break
        other, given, taken = swap
        for rank, loses, gains in ((busiest, given, taken), (other, taken, given)):
            assignment[rank] = sorted({*assignment[rank], *gains} - {*loses})
            loads[rank] = sum(costs[i] for i in assignment[rank])
    return assignment


def _best_swap(
    costs: Sequence[int], assignment: Sequence[Sequence[int]], loads: Sequence[int], busiest: int
) -> tuple[int, list[int], list[int]] | None:
    """The rank, and images given to it and taken for them, that leave the smallest larger load of the two."""
    best: tuple[int, list[int], list[int]] | None = None
    lowest = loads[busiest]
    for other, images in enumerate(assignment):
        gap = loads[busiest] - loads[other]
        if gap <= 0:
            continue
        offers = sorted((costs[i], i) for i in images)
        for given in assignment[busiest]:
            # Half the gap is what should change hands; -1 stands for taking nothing in exchange.
            wanted = costs[given] - gap // 2
            place = bisect_left(offers, (wanted, -1))
            for cost, taken in [*offers[max(place - 1, 0) : place + 1], (0, -1)]:
                moved = costs[given] - cost
                larger = max(loads[busiest] - moved, loads[other] + moved)
                if moved > 0 and larger < lowest:
                    lowest, best = larger, (other, [given], [] if taken < 0 else [taken])
    return best
