"""What ranks do together in the tests of process groups that the caller brings."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from support import tiny
from support.rank_towers import CLIP, QWEN, assert_same, keys, patches
from vision_composer import compose
from vision_composer.errors import DistributedError, InputError
from vision_composer.parallel import gather, startup
from vision_composer.parallel import group as parallel_group
from vision_composer.parallel.group import Report, broadcast_text, control_group, together
from vision_composer.parallel.outputs import exchange_counts


def only_for_devices() -> None:
    """A group without a backend for CPUs, as NCCL's is: messages go over another, and towers need a GPU."""
    group = dist.new_group(backend="cuda:gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    _, reports = together(group, lambda: (None, Report(count=rank)), what="test")
    assert [report.count for report in reports] == list(range(ranks))
    assert broadcast_text(f"of rank {rank}", group, what="test") == "of rank 0"
    assert exchange_counts([rank] * rank, range(ranks), group) == [[i] * i for i in range(ranks)]
    assert control_group(group) is control_group(group)
    with pytest.raises((InputError, DistributedError), match="no backend for tensors on cpu, only cuda:gloo"):
        compose(keys(CLIP), process_group=group)


def features_beside_messages(first: int) -> None:
    """Features go over the group that was given, and messages over the one beside it; some ranks are out."""
    ranks = list(range(first, dist.get_world_size()))
    group = dist.new_group(ranks, backend="gloo")
    if dist.get_rank() not in ranks:
        return
    gathered: list[tuple[torch.dtype, bool]] = []
    all_gather = dist.all_gather

    def seen(parts: list[Tensor], mine: Tensor, group: dist.ProcessGroup, async_op: bool = False) -> object:
        gathered.append((mine.dtype, group is control))
        return all_gather(parts, mine, group=group, async_op=async_op)

    all_gather_single = gather._all_gather_single

    def seen_single(whole: Tensor, mine: Tensor, group: dist.ProcessGroup, async_op: bool) -> object:
        gathered.append((mine.dtype, group is control))
        return all_gather_single(whole, mine, group=group, async_op=async_op)

    with patch.object(parallel_group, "backend_of", lambda _, kind: None if kind == "cpu" else "gloo"):
        control = control_group(group)
        assert control is not group
        torch.manual_seed(0)
        alone = tiny.scramble(compose(keys(QWEN)))
        with (
            patch.object(startup, "check_backend"),
            patch.object(gather, "check_backend"),
            patch.object(dist, "all_gather", seen),
            patch.object(gather, "_all_gather_single", seen_single),
        ):
            spread = compose(keys(QWEN), process_group=group)
            spread.load_state_dict(alone.state_dict())
            batch = patches(alone, [(1, 2, 2), (1, 3, 3), (1, 2, 4)])
            with torch.no_grad():
                assert_same(spread(**batch), alone(**batch))
    assert set(gathered) == {(torch.uint8, True), (torch.float32, False)}
