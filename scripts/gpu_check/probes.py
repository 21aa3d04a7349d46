"""What is tried on several processes: each probe runs as the ranks of a group, and prints what it finds."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from vision_composer import ComposedVisionEncoder, compose
from vision_composer.parallel.startup import Startup
from vision_composer.schemas import ParallelConfig
from vision_composer.testing import tiny_encoder

from .compare import largest_error, output_stays
from .measure import attempt, set_tf32
from .towers import compile_keys, moved, sample_inputs, tiny


class Probe(NamedTuple):
    run: Callable[[str], None]
    """Takes the device."""
    ranks: int


class Answer(dict[str, Any]):
    """What a probe has found: printed as it grows, so that a probe that hangs has said how far it came."""

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        print(json.dumps(self), flush=True)


class Spread:
    """A tower on the ranks of the default group, even if that is one rank, which compose takes for none."""

    def __init__(self, device: str, **keys: Any) -> None:
        self.encoder = encoder = tiny("pixtral", device=device, **keys)
        group = dist.group.WORLD
        assert group is not None
        startup = Startup(group, encoder.config, ParallelConfig(mode="data"), encoder.device)
        startup.tower(lambda: encoder.tower)
        self.parallel = startup.spread(encoder.tower, encoder.preprocessor, encoder.plan)
        self.inputs = moved(sample_inputs(encoder), encoder.device)

    def __call__(self, **inputs: Tensor) -> list[Tensor]:
        return list(self.parallel.start(**inputs).wait())

    @torch.no_grad()
    def error(self) -> float:
        want = [part.double().cpu() for part in self.encoder(**self.inputs)]
        return largest_error([part.cpu() for part in self(**self.inputs)], want)

    @torch.no_grad()
    def output_stays(self) -> bool:
        return output_stays(self, self.inputs)


def one_rank(device: str) -> None:
    """init_process_group() as ``compose`` calls it under torchrun, and what the ranks do after it."""
    row = Answer()
    set_tf32(False)
    attempt(row, "compose with parallel", lambda: tiny("pixtral", "parallel={mode: data}", device=device))
    if not dist.is_initialized():
        attempt(row, "init_process_group()", dist.init_process_group)
    attempt(row, "backends", backends)
    attempt(row, "current device", lambda: torch.cuda.current_device() if device != "cpu" else "cpu")
    attempt(row, "all_gather_object", lambda: dist.all_gather_object([None], "word"))
    attempt(row, "broadcast_object_list", lambda: dist.broadcast_object_list(["word"]))
    spread = attempt(row, "spread", partial(Spread, device))
    if spread is not None:
        attempt(row, "forward", spread.error)
    keys = compile_keys(torch.device(device), "reduce-overhead")
    spread = attempt(row, "spread with CUDA graphs", partial(Spread, device, compile=keys))
    if spread is not None:
        attempt(row, "an output stays", spread.output_stays)


def two_ranks(device: str) -> None:
    """Two ranks, each on its GPU where there are two, otherwise both on one, which NCCL refuses."""
    row = Answer()
    set_tf32(False)
    where = device
    if device != "cpu":
        where = f"cuda:{int(os.environ['RANK']) % torch.cuda.device_count()}"
        if torch.cuda.device_count() < 2:
            attempt(row, "gloo for both", lambda: dist.init_process_group("cpu:gloo,cuda:gloo"))
    source = {"schema": 1, "encoder": tiny_encoder("pixtral")}
    composed = partial(compose, source, overrides=["parallel={mode: data}"], device=where)
    encoder = attempt(row, "compose", composed)
    attempt(row, "backends", backends)
    if encoder is not None:
        attempt(row, "forward", partial(shapes, encoder, moved(sample_inputs(encoder), encoder.device)))


def out_of_memory(device: str) -> None:
    """A forward that does not fit, in a tower that is spread: which error comes out."""
    row = Answer()
    dist.init_process_group("cpu:gloo,cuda:nccl" if device != "cpu" else "gloo")
    spread = attempt(row, "spread", partial(Spread, device))
    if spread is not None and device != "cpu":
        inputs = large_inputs(spread.encoder)
        attempt(row, "forward before", spread.error)
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**22) / total)
        attempt(row, "forward that does not fit", lambda: spread(**inputs))
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
        attempt(row, "forward afterwards", spread.error)


def large_inputs(encoder: ComposedVisionEncoder) -> dict[str, Tensor]:
    side = encoder.info.image_size
    pixels = torch.zeros(4096, encoder.info.num_channels, side, side, device=encoder.device)
    return {"pixel_values": pixels, "image_sizes": torch.tensor([[side, side]] * len(pixels))}


def shapes(encoder: ComposedVisionEncoder, inputs: dict[str, Tensor]) -> str:
    return str([tuple(part.shape) for part in encoder(**inputs)])


def backends() -> str:
    return str(dist.get_backend_config(dist.group.WORLD))


PROBES = {
    "one rank": Probe(one_rank, ranks=1),
    "two ranks": Probe(two_ranks, ranks=2),
    "out of memory": Probe(out_of_memory, ranks=1),
}
