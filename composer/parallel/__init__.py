"""Spreading images over processes."""

from __future__ import annotations

from .balance import get_load_balance_assignment

__all__ = ["get_load_balance_assignment"]
