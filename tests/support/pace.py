"""How slow the machine is just now, for tests of what may take so many seconds. Needs nothing."""

from __future__ import annotations

import os
import time

ADDITIONS = 1_000_000
SECONDS = 0.1
"""What so many additions take where the promise of so many seconds is made: on a small machine of today."""

COUNTED = 3
"""How many times longer the same takes while coverage counts the lines that are run."""


def pace() -> float:
    """Return how many times slower this machine is than the one a promise is made for; at least 1."""
    start, total = time.process_time(), 0
    for number in range(ADDITIONS):
        total += number
    slower = max(1.0, (time.process_time() - start) / SECONDS)
    return slower * COUNTED if "COVERAGE_PROCESS_CONFIG" in os.environ else slower
