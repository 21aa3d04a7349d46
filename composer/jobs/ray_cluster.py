"""Which Ray cluster does a job; knows nothing of Ray."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError


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

    def __post_init__(self) -> None:
        if self.num_gpus is not None and self.num_gpus < 0:
            raise InputError(f"num_gpus is {self.num_gpus}; it must be at least 0")
