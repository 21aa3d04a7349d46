"""How often the host waits for the device in one forward, and where."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ..measure import attempt
from ..recorder import Recorder
from ..towers import families, moved, sample_inputs, tiny


def check(record: Recorder) -> None:
    for model_type in families():
        record(model_type, partial(synchronisations, record, model_type))


def synchronisations(record: Recorder, model_type: str) -> dict[str, Any]:
    """In the first forward of a batch's sizes, in the second, and in the second with integers on the CPU."""
    encoder = tiny(model_type, device=record.device)
    inputs = sample_inputs(encoder)
    there = moved(inputs, record.device)
    mixed = {name: t if t.is_floating_point() else inputs[name] for name, t in there.items()}
    row: dict[str, Any] = {}
    places: Counter[str] = Counter()
    with torch.inference_mode():
        for name, batch in (("first", there), ("second", there), ("integers on the CPU", mixed)):
            found: Counter[str] | None = attempt(row, name, partial(waits, record, partial(encoder, **batch)))
            if found is not None:
                row[name] = found.total()
                places = found if name == "second" else places
    row["where"] = ", ".join(f"{place} {n}x" for place, n in places.most_common(8))
    return row


def waits(record: Recorder, run: Callable[[], Any]) -> Counter[str]:
    """Places in which the host waits; on the CPU, operations for which it would wait."""
    if not record.on_gpu:
        with Counting() as counting:
            run()
        return Counter(counting.found)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    heard = [warning for warning in caught if "synchronizing" in str(warning.message)]
    return Counter(f"{'/'.join(Path(w.filename).parts[-2:])}:{w.lineno}" for w in heard)


class Counting(TorchDispatchMode):
    """Counts the operations whose result the host needs."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function._schema.name in ("aten::_local_scalar_dense", "aten::nonzero"):
            self.found[function._schema.name] += 1
        return function(*args, **(kwargs or {}))
