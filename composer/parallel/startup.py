"""Composing a tower on several processes: one config, one set of weights."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import torch.distributed as dist

from .._version import __version__
from .cost import CostModel
from .data import DataParallel
from .group import Report, lost_ranks_named, resolve_group, together

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh

    from ..encoder import ComposedVisionEncoder
    from ..schemas import ParallelConfig, TowerConfig, WeightsConfig

    Build = Callable[[WeightsConfig], ComposedVisionEncoder]

_WHAT = "compose the encoder"


def join_group(group: ProcessGroup | DeviceMesh | None) -> ProcessGroup | None:
    """The group to run in; None for a process of its own. Initialises torch.distributed under torchrun."""
    if group is None and not dist.is_initialized() and dist.is_torchelastic_launched():
        dist.init_process_group()
    return resolve_group(group)


def compose_on_ranks(
    build: Build, config: TowerConfig, parallel: ParallelConfig, group: ProcessGroup
) -> ComposedVisionEncoder:
    """Build one tower on every rank, with the same weights, and make it data-parallel.

    Weights are read by one process of every machine first, so that a hub's file is downloaded once and read
    from disk once; or by rank 0 alone, which sends them. Random weights are always sent.

    Args:
        build: Builds it for one process, with weights from where it is told.
        config: The config.
        parallel: Its block.
        group: The ranks.

    Raises:
        DistributedError: Another rank failed, is gone, or has another config.
        VisionComposerError: What ``build`` raised here, once the others know.
    """
    sent = parallel.weights == "broadcast" or config.weights.source is None
    fingerprint = _fingerprint(config, sent)
    if sent:
        tower = _sent_from_the_first(build, config.weights, group, fingerprint)
    else:
        tower = _read_in_turn(build, config.weights, group, fingerprint)

    def attach() -> tuple[DataParallel, Report]:
        cost = CostModel(tower.plan)
        if parallel.cost_table is not None:
            cost = CostModel.load(parallel.cost_table, tower.plan)
        return DataParallel(tower, group, parallel, cost, fingerprint), Report({"costs": _costs(cost)})

    tower.parallel, _ = together(group, attach, what=_WHAT)
    return tower


def _sent_from_the_first(
    build: Build, weights: WeightsConfig, group: ProcessGroup, fingerprint: str
) -> ComposedVisionEncoder:
    rank = dist.get_rank(group)
    random = weights.model_copy(update={"source": None, "revision": None})
    tower, _ = together(
        group, lambda: (build(weights if rank == 0 else random), Report({"config": fingerprint})), what=_WHAT
    )
    with lost_ranks_named(group, "send weights"):
        for tensor in tower.state_dict().values():
            dist.broadcast(tensor, group=group, group_src=0)
        # How pictures are resized comes with the weights.
        brought = [tower.preprocessor, tower.info]
        dist.broadcast_object_list(brought, group=group, group_src=0)
    tower.preprocessor, tower.info = brought  # type: ignore[assignment]  # a list's items share one type
    tower.plan = replace(tower.plan, info=tower.info)
    return tower


def _read_in_turn(
    build: Build, weights: WeightsConfig, group: ProcessGroup, fingerprint: str
) -> ComposedVisionEncoder:
    hosts: list[str] = [""] * dist.get_world_size(group)
    with lost_ranks_named(group, _WHAT):
        dist.all_gather_object(hosts, socket.gethostname(), group=group)
    rank = dist.get_rank(group)
    is_first = hosts.index(hosts[rank]) == rank
    towers: list[ComposedVisionEncoder] = []
    for turn in (True, False):

        def build_in_turn(mine: bool = is_first is turn) -> tuple[None, Report]:
            if mine:
                towers.append(build(weights))
            return None, Report({"config": fingerprint})

        together(group, build_in_turn, what=_WHAT)
    return towers[0]


def _fingerprint(config: TowerConfig, sent: bool) -> str:
    """A digest of all that makes a difference to the features, or to how ranks work together."""
    keys = config.resolved() | {"version": __version__}
    for described in ("name", "summary", "source", "license", *(["weights"] if sent else [])):
        keys.pop(described)
    keys["dtype"] = config.weights.dtype
    return sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()[:8]


def _costs(cost: CostModel) -> str:
    values = (cost.seconds_per_image, cost.seconds_per_linear_flop, cost.seconds_per_attention_flop)
    return ", ".join(map(repr, values))
