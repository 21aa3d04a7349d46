"""Which Ray cluster does a job; knows nothing of Ray."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RayCluster:
    """Which cluster does a job, and with what.

    Attributes:
        address: Of a running cluster, such as ``auto`` or ``ray://host:10001``; None for one on this machine.
        num_gpus: GPUs, with an actor on each; None for all of the cluster. Without any, every machine has an
            actor that takes all its cores.
    """

    address: str | None = None
    num_gpus: int | None = None
