"""The log, one JSON object a line: all that the process that watches shares with the one that measures."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple


class Running(NamedTuple):
    """The measurement that has begun and not ended."""

    section: str
    item: str
    begun: float
    deadline: float
    """When its section should be done."""


def append(log: Path, **entry: Any) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry | {"time": time.time()}, default=str) + "\n")


def entries(log: Path) -> list[dict[str, Any]]:
    whole, _, _ = log.read_text(encoding="utf-8").rpartition("\n")  # the last line may still be written
    return [json.loads(line) for line in whole.splitlines()]


def running(log: Path) -> Running | None:
    past = entries(log)
    if past[-1]["event"] != "begin":
        return None
    section, item, begun = (past[-1][key] for key in ("section", "item", "time"))
    deadline = next(entry["deadline"] for entry in reversed(past) if entry["event"] == "section")
    return Running(section, item, begun, deadline)
