"""Whole towers, uncompiled and compiled, beside transformers' own classes; loading one, and an odd width."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from math import nan, prod
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from vision_composer import compose
from vision_composer.bench.comparison import Size, noise
from vision_composer.bench.measure import interleaved, matmuls, timed
from vision_composer.bench.timm_peer import run_timm
from vision_composer.errors import InputError

from ..compare import largest_error
from ..measure import brief, microseconds
from ..packages import version
from ..peers import OURS, with_peers
from ..recorder import Recorder
from ..towers import preset, quickly_built

MIXED = [(448, 448), (640, 480), (224, 224), (896, 672), (336, 336), (480, 640), (1024, 768), (280, 420)] * 2
COUNTS = (1, 32, 8)
TOWERS: dict[str, tuple[str, dict[str, list[Size]]]] = {
    "CLIP-L/14-336": ("llava-1.5-7b", {str(n): [(336, 336)] * n for n in COUNTS}),
    "Qwen2.5-VL-7B": ("qwen2.5-vl-7b", {str(n): [(448, 448)] * n for n in COUNTS} | {"16 mixed": MIXED}),
    "SigLIP-so400m-384": ("siglip-so400m-patch14-384", {str(n): [(384, 384)] * n for n in COUNTS}),
    "Pixtral": ("pixtral-12b", {str(n): [(512, 512)] * n for n in COUNTS} | {"16 mixed": MIXED}),
}
"""Name -> preset, and batches of images by their names."""


def check(record: Recorder) -> None:
    """Every tower in its first batch, then in its second, and so on, as far as time allows."""
    record("matrix product", partial(peak, record))
    record("gated MLP of Qwen2.5-VL, as wide as it is and padded", partial(widths, record))
    record("loading CLIP-L/14-336", partial(loading, record))
    built: dict[str, dict[str, Any]] = {}  # the towers stay, for their other batches
    for number in range(max(len(batches) for _, batches in TOWERS.values())):
        for name, (source, batches) in TOWERS.items():
            if number < len(batches):
                batch = list(batches)[number]
                record(f"{name}, {batch}", partial(speed, record, built, source, batches, batch))


def peak(record: Recorder) -> dict[str, Any]:
    """What one large product of bfloat16 matrices reaches: 100% of what follows."""
    run, operations = matmuls(record.device, torch.bfloat16)[-1]
    seconds = microseconds(run, record.device, rounds=20) / 1e6
    return {"ms": seconds * 1e3, "TFLOP/s": operations / seconds / 1e12}


def widths(record: Recorder) -> list[dict[str, Any]]:
    """In half precision its rows do not begin at whole 16 bytes; with four more columns they would."""
    rows = []
    for dtype in (torch.bfloat16, torch.float32):
        for tokens in (1_024, 4_096, 16_384) if record.on_gpu else (64,):
            with record.device, torch.inference_mode():
                x = torch.randn(tokens, 1_280, dtype=dtype)
                runs = [partial(gated_mlp(width, dtype), x) for width in (3_420, 3_424)]
                seconds = interleaved(runs, 12 if record.on_gpu else 1, record.device)
            own, padded = (median(each) * 1e3 for each in seconds)
            row = {"dtype": str(dtype)[6:], "tokens": tokens, "ms, 3,420": own, "ms, 3,424": padded}
            rows.append(row | {"gain": own / padded})
    return rows


def gated_mlp(width: int, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    gate, up, down = (
        nn.Linear(*features, dtype=dtype) for features in ((1_280, width), (1_280, width), (width, 1_280))
    )
    return lambda x: down(silu(gate(x)) * up(x))


def loading(record: Recorder) -> dict[str, Any]:
    """From a file that was just written, and so is in memory."""
    with TemporaryDirectory() as folder:
        preset(record, "llava-1.5-7b").save(folder)
        size = (Path(folder) / "model.safetensors").stat().st_size
        # The first time, the device gets its memory.
        seconds = [timed(partial(compose, folder, device=record.device), record.device)[0] for _ in range(3)]
    return {"MB": size / 1e6, "first s": seconds[0], "s": min(seconds), "GB/s": size / min(seconds) / 1e9}


def speed(
    record: Recorder,
    built: dict[str, dict[str, Any]],
    source: str,
    batches: Mapping[str, list[Size]],
    name: str,
) -> list[dict[str, Any]]:
    """One batch of a tower, all runners in one process, interleaved, on the same weights."""
    if not record.on_gpu:
        batches = {name: [(32, 32)] * 2}
    begun = time.perf_counter()
    if source not in built:
        tower = preset(record, source).requires_grad_(False)
        budgets = [sum(prod(tower.info.grid(*size)) for size in sizes) for sizes in batches.values()]
        built[source] = with_peers(tower, budgets)
    seconds_to_build = time.perf_counter() - begun
    tower = built[source][OURS]
    sizes = batches[name]
    inputs = noise(tower, sizes)
    operations = sum(tower.plan.flops(*size) or 0 for size in sizes)
    rows: dict[str, dict[str, Any]] = {}
    contenders = {runner: partial(module, **inputs) for runner, module in built[source].items()}
    if version("timm"):
        with suppress(InputError):  # of encoders that timm's class is not made for
            contenders["timm"] = quickly_built(record.device, lambda: run_timm(tower, inputs)())
    runs: dict[str, Callable[[], Any]] = {}
    features: dict[str, list[Tensor]] = {}
    with torch.inference_mode():
        for runner, run in contenders.items():
            row = rows[runner] = {"runner": runner, "images": len(sizes), "build s": seconds_to_build}
            try:
                row["first s"], features[runner] = timed(partial(floats, run), record.device)
                row["difference"] = largest_error(features[runner], features[OURS])
                run()
                runs[runner] = run
            except Exception as error:
                row["error"] = brief(error)
                torch.cuda.empty_cache()
        del features
        possible = peak(record)["TFLOP/s"] * 1e12
        rounds = interleaved(list(runs.values()), 8 if record.on_gpu else 1, record.device)
    peer = median(rounds[list(runs).index("transformers sdpa")]) if "transformers sdpa" in runs else nan
    for runner, seconds in zip(runs, rounds, strict=True):
        rate = operations / median(seconds)
        rows[runner] |= {"ms": median(seconds) * 1e3, "ms min": min(seconds) * 1e3}
        rows[runner] |= {"images/s": len(sizes) / median(seconds), "x transformers": peer / median(seconds)}
        rows[runner] |= {"TFLOP/s": rate / 1e12, "of peak": rate / possible}
    return list(rows.values())


def floats(run: Callable[[], Sequence[Tensor]]) -> list[Tensor]:
    return [part.float() for part in run()]
