"""Compiled towers beside the same uncompiled, in every mode, over batches that differ."""

from __future__ import annotations

import time
from functools import partial
from itertools import product
from statistics import median
from typing import Any

import torch

from vision_composer import ComposedVisionEncoder
from vision_composer.bench.measure import compiled_graphs, timed

from ..compare import largest_error, output_stays
from ..measure import cudagraph_counts, listening, microseconds, shortened
from ..recorder import Recorder
from ..towers import compile_keys, different_inputs, tiny

BUDGETS = {"token_budgets": [256, 1024, 4096]}
MODES: dict[str, dict[str, Any]] = {
    "recorded": {"mode": "default", **BUDGETS},
    "default": {"mode": "default"},
    "reduce-overhead": {"mode": "reduce-overhead"},
    "max-performance": {"mode": "max-performance"},
}


def check(record: Recorder) -> None:
    modes = MODES if record.on_gpu else ("default",)
    towers = list(product(modes, ("clip_vision_model", "dinov2", "qwen2_5_vl_vision")))
    for number, (mode, family) in enumerate(towers):
        until = time.time() + max(8.0, 2 * record.seconds_left / (len(towers) - number))
        record(f"{mode}, {family}", partial(compiled_tower, record, family, mode, until))


def compiled_tower(record: Recorder, model_type: str, mode: str, until: float) -> dict[str, Any]:
    """Ten different batches as far as time allows: errors, times, graphs, and whether an output stays."""
    dtype = "bfloat16" if record.on_gpu else "float32"  # the kernels that can be recorded take no other
    like = partial(tiny, model_type, f"weights.dtype={dtype}", device=record.device)
    plain, tower = like(), like(compile=compile_keys(record.device, **MODES[mode]))
    tower.load_state_dict(plain.state_dict())
    batches = [different_inputs(tower, number) for number in range(10 if record.on_gpu else 3)]
    before, earlier = compiled_graphs(), cudagraph_counts()
    row: dict[str, Any] = {"batches": 0, "graphs at first": None}
    errors, seconds = [], []
    with torch.inference_mode(), listening() as heard:
        for number, inputs in enumerate(batches):
            if number > 1 and time.time() > until:
                break
            took, got = timed(partial(tower, **inputs), record.device)
            seconds.append(took)
            errors.append(largest_error(list(got), [part.double() for part in plain(**inputs)]))
            if number == 0:
                row["graphs at first"] = compiled_graphs() - before
        row["batches"], row["graphs in the end"] = len(errors), compiled_graphs() - before
        row["first s"], row["median s"] = seconds[0], median(seconds)
        row["largest error"], row["an output stays"] = max(errors), output_stays(tower, batches[1])
        row["us"] = microseconds(partial(tower, **batches[1]), record.device)
        row["us uncompiled"] = microseconds(partial(plain, **batches[1]), record.device)
        if tower.info.ragged:
            row["MiB held, every ten batches"] = memory_growth(record, tower, max(until, time.time() + 8))
    row["counters"], row["heard"] = cudagraph_counts() - earlier, shortened(heard)
    return row


def memory_growth(record: Recorder, tower: ComposedVisionEncoder, until: float) -> list[int]:
    """MiB that torch holds after every ten of fifty batches: flat, if nothing is kept of each."""
    held = []
    for number in range(50 if record.on_gpu else 2):
        if time.time() > until:
            break
        tower(**different_inputs(tower, number))
        if record.on_gpu and number % 10 == 9:
            torch.cuda.synchronize()
            held.append(torch.cuda.memory_reserved() // 2**20)
    return held
