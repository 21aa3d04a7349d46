"""Who encodes which image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise

from ..errors import InputError


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
        InputError: Fewer than one GPU, or a negative size.
    """
    if num_gpus < 1:
        raise InputError(f"num_gpus is {num_gpus}; there must be at least 1")
    if any(size < 0 for size in sizes):
        raise InputError("sizes cannot be negative")
    hands: list[list[int]] = [[] for _ in range(num_gpus)]
    loads = [0] * num_gpus
    for image in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        gpu = loads.index(min(loads))
        hands[gpu].append(image)
        loads[gpu] += sizes[image]
    return list(chain.from_iterable(hands)), [len(hand) for hand in hands], loads


def deal_in_order(images: int, ranks: int) -> list[list[int]]:
    """Consecutive images to every rank, as evenly as can be."""
    bounds = [images * rank // ranks for rank in range(ranks + 1)]
    return [list(range(start, end)) for start, end in pairwise(bounds)]
