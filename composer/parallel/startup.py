"""Composing a tower on several processes: one config, one set of weights."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh

from .._version import __version__
from ..images.preprocess import Preprocessor
from ..images.settings import ProcessorSettings
from ..planning import AnyPlan, only_tower
from ..schemas import AnyConfig, ParallelConfig
from ..tower.base import VisionModule
from .cost import CostModel, sum_of_costs
from .data import DataParallel
from .group import Report, broadcast_text, check_backend, lost_ranks_named, resolve_group, together

T = TypeVar("T")
M = TypeVar("M", bound=VisionModule[Any])

_WHAT = "compose the encoder"


def join_group(group: ProcessGroup | DeviceMesh | None) -> ProcessGroup | None:
    """Return the group to run in; None for a process of its own.

    Initialises torch.distributed under torchrun, if nobody has and there are several processes.
    """
    launched = not dist.is_initialized() and dist.is_torchelastic_launched()
    if group is None and launched and int(os.environ["WORLD_SIZE"]) > 1:
        dist.init_process_group(_backends())
    return resolve_group(group)


def _backends() -> str:
    """Return gloo for messages between hosts and, where there is an accelerator, its own for features."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return "gloo"
    return f"cpu:gloo,{accelerator.type}:{dist.get_default_backend_for_device(accelerator)}"


def tell_ranks(group: ProcessGroup | DeviceMesh | None, failure: Exception) -> None:
    """Let the ranks that compose together know why this one cannot, so that they need not wait for it."""

    def fail() -> tuple[None, Report]:
        raise failure

    with suppress(Exception):  # what this rank raises is ``failure``
        joined = join_group(group)
        if joined is not None:
            together(joined, fail, what=_WHAT)


class Startup:
    """What the ranks of a group do together while each composes its tower.

    Weights are read by one process of every machine first, so that a hub's file is downloaded once and read
    from disk once; or by rank 0 alone, which sends them. Random weights are always sent.

    Args:
        group: The ranks.
        config: The config, the same on all of them.
        parallel: How images are spread, whatever the config says of it.
        device: Where this rank's tower will be.

    Raises:
        DistributedError: If another rank failed, is gone, or has another config.
        InputError: If the group has no backend for tensors on that device.
    """

    def __init__(
        self, group: ProcessGroup, config: AnyConfig, parallel: ParallelConfig, device: torch.device
    ) -> None:
        self._group, self._parallel = group, parallel
        self.sends_weights = parallel.weights == "broadcast" or any(
            tower.weights.source is None for tower in config.towers_by_name.values()
        )
        self.reads_weights = dist.get_rank(group) == 0 or not self.sends_weights
        """Whether this rank reads the checkpoint."""
        self._fingerprint = _fingerprint(config, parallel, self.sends_weights)
        self._facts = {
            "source of weights": "rank 0" if self.sends_weights else "a checkpoint",
            "config": self._fingerprint,
        }
        host = sha256(socket.gethostname().encode()).hexdigest()[:16]

        def introduce() -> tuple[None, Report]:
            check_backend(group, device.type)
            return None, Report(self._facts, host=host)

        # Before ranks of different configs go different ways.
        _, reports = together(group, introduce, what=_WHAT)
        self._hosts = [report.host for report in reports]

    def together(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns on this rank, if it fails on none.

        Raises:
            DistributedError: If another rank failed, is gone, or has another config.
        """
        return together(self._group, lambda: (work(), Report(self._facts)), what=_WHAT)[0]

    def processors(self, load: Callable[[], list[ProcessorSettings]]) -> list[ProcessorSettings]:
        """Return what ``load`` finds; where rank 0 sends the weights, what it finds there.

        Raises:
            DistributedError: If another rank failed, is gone, or has another config.
        """
        if not self.sends_weights:
            return self._in_turn(load)
        mine = self.together(lambda: load() if self.reads_weights else None)
        text = "" if mine is None else json.dumps([settings.to_text() for settings in mine])
        text = broadcast_text(text, self._group, what="send the image processor's values")
        return [ProcessorSettings.of_text(each) for each in json.loads(text)] if mine is None else mine

    def tower(self, build: Callable[[], M]) -> M:
        """Return what ``build`` makes, with the same weights on all ranks.

        Raises:
            DistributedError: If another rank failed, is gone, or has another config.
        """
        if not self.sends_weights:
            return self._in_turn(build)
        tower = self.together(build)
        with lost_ranks_named(self._group, "send weights"):
            for tensor in tower.state_dict().values():
                dist.broadcast(tensor, group=self._group, group_src=0)
        return tower

    def spread(self, tower: VisionModule[Any], preprocessor: Preprocessor, plan: AnyPlan) -> DataParallel:
        """Return the tower as it runs on all ranks.

        Raises:
            DistributedError: If another rank failed, is gone, or has another table of costs.
            InputError: If the table of costs cannot be read, or is of another encoder.
        """

        def attach() -> tuple[DataParallel, Report]:
            models = [CostModel(each) for each in plan.towers.values()]
            if self._parallel.cost_table is not None:
                models = [CostModel.load(self._parallel.cost_table, only_tower(plan))]
            cost = sum_of_costs(models)
            spread = DataParallel(tower, preprocessor, self._group, self._parallel, cost, self._fingerprint)
            return spread, Report({"table of costs": "; ".join(map(_costs, models))})

        return together(self._group, attach, what=_WHAT)[0]

    def _in_turn(self, work: Callable[[], T]) -> T:
        """Run ``work`` on one process of every machine first, then on the others."""
        rank = dist.get_rank(self._group)
        is_first = self._hosts.index(self._hosts[rank]) == rank
        first = self.together(work if is_first else _nothing)
        second = self.together(_nothing if is_first else work)
        done = first if is_first else second
        if done is None:
            raise TypeError(f"{work} returned nothing")
        return done


def _nothing() -> None:
    """Do nothing, on a rank whose turn it is not."""


def _fingerprint(config: AnyConfig, parallel: ParallelConfig, sent: bool) -> str:
    """Return a digest of all that makes a difference to the features, or to how ranks work together."""
    # Where a table of costs lies makes none; its costs are compared when it has been read.
    shared = parallel.model_dump(exclude={"cost_table"})
    keys = config.resolved() | {"version": __version__, "parallel": shared}
    blocks = [keys, *keys.get("towers", {}).values()]
    if sent:
        blocks += [block for block in (keys["connector"], *keys.get("project", {}).values()) if block]
    for block in blocks:
        for described in ("name", "summary", "source", "license", *(["weights"] if sent else [])):
            block.pop(described, None)
    keys["dtype"] = config.dtype
    return sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()[:8]


def _costs(cost: CostModel) -> str:
    values = (cost.seconds_per_image, cost.seconds_per_linear_flop, cost.seconds_per_attention_flop)
    return ", ".join(map(repr, values))
