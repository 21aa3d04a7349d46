"""The process that measures: it runs, section by section, what the log does not yet have."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path

import torch

from .log import append, entries
from .measure import set_tf32
from .recorder import Recorder, failure


def work(log: Path, device: str) -> int:
    """Measure until every section is over; each gets its share of the time that is left."""
    if device != "cpu" and not torch.cuda.is_available():
        raise SystemExit("torch sees no CUDA device on this machine; --device cpu tries the script itself")
    set_tf32(False)
    head, *past = entries(log)
    over = {entry["section"] for entry in past if entry["event"] == "over"}
    left = {section: share for section, share in head["shares"].items() if section not in over}
    for section in list(left):
        try:
            module = import_module(f".sections.{section}", __package__)  # before the section's time begins
            seconds = max(0.0, head["end"] - time.time()) * left[section] / sum(left.values())
            deadline = time.time() + seconds
            append(log, event="section", section=section, deadline=deadline)
            known = {e["item"] for e in past if e["event"] in ("begin", "end") and e["section"] == section}
            module.check(Recorder(log, section, device, deadline, known))
        except Exception as error:  # a section that cannot even begin
            append(log, event="end", section=section, item="the section", **failure(error))
        append(log, event="over", section=section)
        del left[section]
        torch._dynamo.reset()
        torch.cuda.empty_cache()
    return 0
