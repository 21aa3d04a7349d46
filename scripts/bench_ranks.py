"""Time a data-parallel tower on all ranks beside the same tower on one, round by round in one run.

    torchrun --nproc-per-node 2 scripts/bench_ranks.py pixtral-12b --set encoder.num_hidden_layers=1

Every rank has the GPU of its LOCAL_RANK, or on a machine without GPUs one thread. Images are of log-normal
size, and the weights random and the same on all ranks.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from vision_composer import ComposedVisionEncoder, compose
from vision_composer.bench.comparison import noise
from vision_composer.bench.measure import device_name, synchronize
from vision_composer.running.warmup import largest_difference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("preset", help="a preset of native resolution, or a path")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a value")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    parser.add_argument("--dtype", default="float32", help="of the weights")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--patches", type=int, default=500, help="median patches of an image")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    overrides = [*arguments.set, "weights.source=null", f"weights.dtype={arguments.dtype}"]
    many = compose(arguments.preset, overrides=[*overrides, "parallel.mode=data"], device=arguments.device)
    if many.parallel is None:
        parser.error("there is one rank only; start the script with torchrun")
    one = compose(arguments.preset, overrides=overrides, device=many.device)
    one.load_state_dict(many.state_dict())
    inputs = noise(one, sizes(one, arguments.images, arguments.patches))
    seconds: dict[str, list[float]] = {"one": [], "many": []}
    with torch.inference_mode():
        for _ in range(arguments.rounds + 1):
            dist.barrier()
            if dist.get_rank() == 0:
                seconds["one"].append(timed(one, inputs))
            dist.barrier()  # the others wait, and leave the processor alone
            seconds["many"].append(timed(many, inputs))
        difference = largest_difference(many(**inputs), one(**inputs))
    if dist.get_rank() == 0:
        first, all_ranks = (sorted(times[1:]) for times in seconds.values())  # the first round warms up
        where = f"{one.plan.num_blocks} blocks, {one.plan.dtype} on {device_name(one.device)}"
        print(f"{arguments.images} images, {where}, features within {difference:.0e} of a token's norm")
        for name, times in (("1 rank", first), (f"{dist.get_world_size()} ranks", all_ranks)):
            print(f"{name:8}  {median(times):6.2f} s  ({times[0]:.2f} to {times[-1]:.2f})")
        print(f"{median(first) / median(all_ranks):.2f} x as fast, by medians of {len(first)} rounds")
    dist.destroy_process_group()


def sizes(tower: ComposedVisionEncoder, images: int, patches: int) -> list[tuple[int, int]]:
    """Widths and heights of squares, whose patches are log-normal with a sigma of 1."""
    counts = np.exp(np.random.default_rng(0).normal(np.log(patches), 1, images))
    sides = [max(1, round(count**0.5)) * tower.info.patch_size for count in counts.clip(64, 8 * patches)]
    return [(side, side) for side in sides]


def timed(tower: ComposedVisionEncoder, inputs: dict[str, Tensor]) -> float:
    synchronize(tower.device)
    start = time.perf_counter()
    tower(**inputs)
    synchronize(tower.device)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
