"""Spreading images over processes."""

from __future__ import annotations

from .balance import get_load_balance_assignment
from .cost import CostModel, Measurement
from .sharded import run_dp_sharded_mrope_vision_model, run_dp_sharded_vision_model

__all__ = [
    "CostModel",
    "Measurement",
    "get_load_balance_assignment",
    "run_dp_sharded_mrope_vision_model",
    "run_dp_sharded_vision_model",
]
