"""Images per second of preprocessing, of a whole ``encode`` job, and of the forward alone."""

from __future__ import annotations

import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vision_composer import encode_dataset
from vision_composer.bench.comparison import noise
from vision_composer.jobs.progress import Progress

from ..measure import microseconds
from ..recorder import Recorder
from ..towers import preset


def check(record: Recorder) -> None:
    many, batch = (8192, 64) if record.on_gpu else (6, 2)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        images = photographs(Path(folder) / "images", many, distinct=min(many, 32))
        record("CLIP-L/14-336", partial(job, record, Path(folder), "llava-1.5-7b", images, batch))
        few = images[: max(1, many // 32)]
        record("Qwen2.5-VL-7B", partial(job, record, Path(folder), "qwen2.5-vl-7b", few, max(1, batch // 16)))


def job(record: Recorder, folder: Path, source: str, images: list[str], batch: int) -> dict[str, Any]:
    """Images of 1,280 x 960; the forward alone has a batch of noise of that size."""
    encoder = preset(record, source)
    sample = images[: 24 if record.on_gpu else 2]
    encoder.preprocessor(sample)  # what is compiled for large images is so before
    start = time.perf_counter()
    for image in sample:
        encoder.preprocessor([image])
    preprocess = len(sample) / (time.perf_counter() - start)
    with encoder.evaluating():
        size = (1280, 960) if record.on_gpu else (64, 48)
        run = partial(encoder, **noise(encoder, [size] * batch))
        forward = batch / microseconds(run, record.device, rounds=5) * 1e6
    seen: list[Progress] = []
    summary = encode_dataset(
        encoder,
        images,
        folder / source,
        batch_size=batch,
        on_progress=lambda progress, _: seen.append(progress),
    )
    return {
        "images": summary.num_images,
        "failed": summary.num_failed,
        "preprocess images/s, one thread": preprocess,
        "job images/s": summary.num_images / summary.seconds,
        "forward images/s": forward,
        "bound by": seen[-1].bound,
        "waits for images s": seen[-1].waits_for_images,
        "waits for writing s": seen[-1].waits_for_writing,
        "batch": batch,
        "output MiB": sum(file.stat().st_size for file in summary.output.rglob("*")) / 2**20,
    }


def photographs(folder: Path, count: int, *, distinct: int) -> list[str]:
    """JPEGs of 1280 x 960 with something of everything in them: colours that change slowly, and noise."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    paths = [folder / f"{number:04}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        if number >= distinct:
            os.link(paths[number % distinct], path)
            continue
        coarse = Image.fromarray(generator.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((1280, 960), Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = smooth + generator.integers(-12, 13, smooth.shape, dtype=np.int16)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return [str(path) for path in paths]
