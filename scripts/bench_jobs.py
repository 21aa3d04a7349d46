"""Measure jobs beside a DataLoader that feeds the same encoder, and its bare forward, and what writing costs.

    python scripts/bench_jobs.py job --images 5000 --workers 2 --rounds 3
    python scripts/bench_jobs.py write --images 400 --rounds 3
    python scripts/bench_jobs.py memory --images 2000

Ratios are medians of rounds in turns. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vision_composer import compose, encode_dataset
from vision_composer.encoder import ComposedVisionEncoder
from vision_composer.jobs.encoded import Encoded
from vision_composer.jobs.writers import BinaryFile, FeatureFile, ListFile

_AS_WRITTEN = argparse.RawDescriptionHelpFormatter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_AS_WRITTEN)
    parser.add_argument("what", choices=["job", "write", "memory", "one"])
    parser.add_argument("--encoder", default="tiny-digits")
    parser.add_argument("--random", action="store_true", help="random weights instead of downloaded ones")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--size", type=int, default=64, help="side of the JPEGs in pixels")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        {"job": job, "write": write, "memory": memory, "one": one}[options.what](options, Path(scratch))


def photographs(folder: Path, count: int, size: int) -> Path:
    """JPEGs with something of everything in them."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize((size, size), Image.Resampling.BICUBIC).save(folder / f"{number:06}.jpg", quality=90)
    return folder


def composed(options: Any) -> ComposedVisionEncoder:
    return compose(options.encoder, overrides=["weights.source=null"] if options.random else [])


def medians(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def job(options: Any, scratch: Path) -> None:
    encoder = composed(options)
    photos = photographs(scratch / "photos", options.images, options.size)
    paths = [str(path) for path in sorted(photos.iterdir())]
    batch = encoder.preprocess(paths[:32])

    def run_job() -> None:
        output = scratch / "out"
        encode_dataset(encoder, [photos], output, workers=options.workers, batch_size=32, overwrite=True)

    def run_loader() -> None:
        loader = torch.utils.data.DataLoader(
            Photographs(paths, encoder.preprocessor.processor), batch_size=32, num_workers=options.workers
        )
        with encoder.evaluating():
            for pixels in loader:
                encoder(pixel_values=pixels).numpy()

    def run_forward() -> None:
        with encoder.evaluating():
            for _ in range(0, len(paths), 32):
                encoder(**batch)

    runs = {"job": run_job, "DataLoader": run_loader, "bare forward": run_forward}
    for name, seconds in (times := medians(runs, options.rounds)).items():
        print(f"{name}: {len(paths) / seconds:,.0f} images/s")
    print(f"job / DataLoader: {times['DataLoader'] / times['job']:.2f}")
    print(f"job / bare forward: {times['bare forward'] / times['job']:.2f}")


class Photographs(torch.utils.data.Dataset[torch.Tensor]):
    """Images through transformers' image processor, as one writes it for a DataLoader."""

    def __init__(self, paths: list[str], processor: Any) -> None:
        self.paths, self.processor = paths, processor

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        image = Image.open(self.paths[index]).convert("RGB")
        pixels: torch.Tensor = self.processor(image, return_tensors="pt")["pixel_values"][0]
        return pixels


def write(options: Any, scratch: Path) -> None:
    features = np.random.default_rng(0).standard_normal((576, 1024)).astype(np.float16)
    facts = "in", (336, 336), (1, 24, 24), 576, "float16", features

    def store(make: Callable[[Path], FeatureFile]) -> None:
        path = scratch / "f.parquet"
        file = make(path)
        for i in range(options.images):
            file.write([Encoded(i, f"{i}.jpg", *facts)])
        file.finish()
        file.publish()
        path.unlink()

    times = medians(
        {
            "bytes": lambda: store(lambda path: BinaryFile(path, {})),
            "lists": lambda: store(lambda path: ListFile(path, {}, half=True)),
        },
        options.rounds,
    )
    for name, seconds in times.items():
        print(f"{name}: {options.images / seconds:,.0f} rows/s of 576 x 1,024 float16")
    print(f"bytes / lists: {times['lists'] / times['bytes']:.2f}")


def memory(options: Any, scratch: Path) -> None:
    peaks = []
    for number in (options.images, 10 * options.images):
        photos = photographs(scratch / f"{number}", number, options.size)
        command = [sys.executable, __file__, "one", "--encoder", options.encoder, "--folder", str(photos)]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(json.loads(result.stdout.splitlines()[-1]))
        print(f"{number:,} images: {peaks[-1] / 2**20:,.0f} MiB at most")
    print(f"ratio: {peaks[1] / peaks[0]:.3f}")


def one(options: Any, scratch: Path) -> None:
    encode_dataset(composed(options), [options.folder], scratch / "out", workers=options.workers)
    print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


if __name__ == "__main__":
    main()
