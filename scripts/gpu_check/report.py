"""The results: the log as one JSON document, and as tables."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .log import entries

STDERR = "gpu_check.stderr.txt"
"""What the processes said, in the folder of the results."""


def write_reports(log: Path, output: Path) -> None:
    """The log as one JSON document, and as tables."""
    head, *past = entries(log)
    sections: dict[str, dict[str, Any]] = {name: {"items": {}} for name in head["shares"]}
    for entry in past:
        section = sections[entry["section"]]
        if entry["event"] == "section":
            section.setdefault("started", entry["time"])
        elif entry["event"] == "over":
            section["seconds"] = entry["time"] - section.get("started", entry["time"])
        else:
            kept = {k: v for k, v in entry.items() if k not in ("event", "section", "item", "time")}
            section["items"][entry["item"]] = kept or {"ok": None}  # only begun
    result = {"format": "gpu_check 1", "device": head["device"], "budget": head["budget"]}
    result |= {"seconds": time.time() - head["time"], "sections": sections}
    with suppress(OSError):
        result["stderr"] = (output / STDERR).read_text(encoding="utf-8", errors="replace")[-4000:]
    for name, text in (("json", json.dumps(result, indent=1, default=str)), ("md", markdown(result))):
        path = output / f"gpu_check.{name}"
        part = path.with_suffix(f".{name}.part")
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(path)


def markdown(result: Mapping[str, Any]) -> str:
    lines = [f"# vision-composer on {result['device']}", ""]
    lines += [f"{result['seconds']:.0f} s of {result['budget']:.0f} s.", ""]
    for number, (name, section) in enumerate(result["sections"].items(), start=1):
        took = f", {section['seconds']:.0f} s" if "seconds" in section else ", not finished"
        lines += [f"## {number}. {name}{took}", ""]
        items = section["items"]
        missed = [item for item, entry in items.items() if entry.get("error") == "no time left"]
        for columns, rows in tables({k: v for k, v in items.items() if k not in missed}):
            shown = [
                columns,
                ["---"] * len(columns),
                *([cell(row.get(c, "")) for c in columns] for row in rows),
            ]
            lines += [f"| {' | '.join(cells)} |" for cells in shown] + [""]
        if missed:
            lines += [f"No time left for: {', '.join(missed)}.", ""]
        for item, entry in items.items():
            text = entry.get("traceback") or entry.get("tail")
            if text and item not in missed:
                lines += [f"<details><summary>{item}</summary>", "", "```", text.rstrip(), "```"]
                lines += ["", "</details>", ""]
    if result.get("stderr"):
        lines += ["## What the processes said", "", "```", result["stderr"].rstrip(), "```", ""]
    return "\n".join(lines)


def tables(items: Mapping[str, Any]) -> Iterator[tuple[list[str], list[dict[str, Any]]]]:
    """Columns and rows: one table for neighbours of which one has at least half of the other's columns."""
    groups: list[tuple[list[str], list[dict[str, Any]]]] = []
    for item, entry in items.items():
        if not entry.get("ok"):
            found = [{"error": entry.get("error", "running"), "s": entry.get("seconds")}]
        else:
            result = entry["result"]
            found = result if isinstance(result, list) else [result]
        rows = [{"": item, **row} for row in found]
        columns = list(dict.fromkeys(column for row in rows for column in row))
        shared = set(columns) & set(groups[-1][0]) if groups else set()
        if len(shared - {""}) * 2 >= len(columns) - 1:
            groups[-1] = (list(dict.fromkeys([*groups[-1][0], *columns])), groups[-1][1] + rows)
        else:
            groups.append((columns, rows))
    yield from groups


def cell(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "**no**", None: "-"}[value]
    if isinstance(value, float):
        if value == 0 or not math.isfinite(value):
            return f"{value:g}"
        return f"{value:.1e}" if abs(value) < 0.01 or abs(value) >= 1e6 else f"{value:.4g}"
    if isinstance(value, (list, dict)):
        value = json.dumps(value, default=str)
    return str(value)[:400].replace("|", "\\|").replace("\n", " ")
