"""Spreading images over processes."""

from __future__ import annotations

from .balance import get_load_balance_assignment
from .cost import CostModel, Measurement
from .data import DataParallel, PendingFeatures
from .device import device_of_rank
from .gather import RowGather
from .sharded import run_dp_sharded_mrope_vision_model, run_dp_sharded_vision_model
from .startup import Startup, join_group, tell_ranks

__all__ = [
    "CostModel",
    "DataParallel",
    "Measurement",
    "PendingFeatures",
    "RowGather",
    "Startup",
    "device_of_rank",
    "get_load_balance_assignment",
    "join_group",
    "run_dp_sharded_mrope_vision_model",
    "run_dp_sharded_vision_model",
    "tell_ranks",
]
