"""Functions run on several ranks: processes on this machine, with gloo and short timeouts."""

from __future__ import annotations

import pickle
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from vision_composer.encoders import FAMILIES

# Ranks are forked from a process that has imported what takes long, once for all of them.
_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "vision_composer.composing",
        "torch.distributed.fsdp",
        *sorted({family.module for family in FAMILIES.values()}),
    ]
)


def on_ranks(world: int, function: Callable[..., Any], *arguments: Any, seconds: float = 150) -> list[Any]:
    """What ``function`` returned on every rank, by rank.

    The function must be importable by name from ``tests/``: it is handed over by name.

    Raises:
        AssertionError: A rank raised, died, or took too long; with what every rank said.
    """
    outcomes = outcomes_on_ranks(world, function, *arguments, seconds=seconds)
    failed = [f"rank {rank}:\n{told}" for rank, (good, told) in enumerate(outcomes) if not good]
    assert not failed, "\n\n".join(failed)
    return [told for _, told in outcomes]


def outcomes_on_ranks(
    world: int, function: Callable[..., Any], *arguments: Any, seconds: float = 150
) -> list[tuple[bool, Any]]:
    """Whether each rank returned, and its result or traceback."""
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            _CONTEXT.Process(target=_rank, args=(rank, world, folder, function, arguments), daemon=True)
            for rank in range(world)
        ]
        for process in processes:
            process.start()
        end = time.monotonic() + seconds
        for process in processes:
            process.join(max(0.0, end - time.monotonic()))
        outcomes = []
        for rank, process in enumerate(processes):
            told = Path(folder) / str(rank)
            if told.exists():
                outcomes.append(pickle.loads(told.read_bytes()))
            else:
                outcomes.append((False, f"still running after {seconds} s" if process.is_alive() else "died"))
            process.kill()
        return outcomes


def _rank(
    rank: int, world: int, folder: str, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=30),
    )
    try:
        outcome = (True, function(*arguments))
    except Exception:
        outcome = (False, traceback.format_exc())
    unfinished = Path(folder) / f"{rank}.part"
    unfinished.write_bytes(pickle.dumps(outcome))
    unfinished.rename(Path(folder) / str(rank))
    dist.destroy_process_group()
