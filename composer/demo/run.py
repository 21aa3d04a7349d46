"""The demo, start to end: images to files, files to features, features to probes and a chart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ..composing import compose_tower
from ..encoder import ComposedVisionEncoder
from ..errors import InputError
from ..jobs import encode_images, read_features
from ..presets import load_config
from ..schemas import one_tower
from . import require
from .digits import PARTS, as_images, load_pixels
from .drawing import draw, project
from .probe import ProbeResult, linear_probe

PRESET = "tiny-digits"


@dataclass(frozen=True)
class DemoResult:
    """What the demo found and wrote.

    Attributes:
        probes: By name of the features: raw pixels, then each hidden state; on held-out digits.
        features: The Parquet file of all hidden states.
        chart: The PNG.
    """

    probes: dict[str, ProbeResult]
    features: Path
    chart: Path


def run_demo(output: Path, console: Console) -> DemoResult:
    """Encode scikit-learn's 1,797 digits, say what the features are worth, and draw them.

    Args:
        output: A folder, made if it does not exist; files of an earlier demo in it are replaced.
        console: Where the report goes.

    Raises:
        MissingDependencyError: If scikit-learn or matplotlib is not installed.
        VisionComposerError: If ``output`` cannot be written.
    """
    require("matplotlib", "matplotlib")
    pixels, labels = load_pixels()
    depth = one_tower(load_config(PRESET)).encoder.num_hidden_layers
    encoder = compose_tower(PRESET, overrides=[f"select_layers={list(range(depth + 1))}"])
    _print_facts(console, encoder)

    files = _write_images(output / "digits", pixels, labels)
    features = _encode(encoder, files, output / "features.parquet", console)
    states = np.split(features.mean(axis=1), depth + 1, axis=1)

    fit, judge = PARTS["probe_train"], PARTS["probe_test"]
    inputs = {"raw pixels": pixels.reshape(len(pixels), -1)}
    inputs |= {f"hidden state {k}": state for k, state in enumerate(states)}
    probes = {name: linear_probe(x, labels, fit, judge) for name, x in inputs.items()}
    _print_probes(console, probes)

    held_out = judge.stop - judge.start
    draw(
        output / "features.png",
        project(states[-1][judge]),
        labels[judge],
        probes,
        title=f"{PRESET}: {held_out} held-out handwritten digits",
        left_title=f"hidden state {depth}, mean over tokens (t-SNE)",
        right_title="linear probe",
    )
    console.print(
        f"\nfeatures  {output / 'features.parquet'}\nchart     {output / 'features.png'}", highlight=False
    )
    return DemoResult(probes, output / "features.parquet", output / "features.png")


def _write_images(folder: Path, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> list[Path]:
    files = [folder / f"{row:04d}-label-{label}.png" for row, label in enumerate(labels)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, image in zip(files, as_images(pixels), strict=True):
            image.save(file)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return files


def _encode(
    encoder: ComposedVisionEncoder, files: list[Path], output: Path, console: Console
) -> npt.NDArray[Any]:
    """Features ``(images, tokens, width)`` of ``files``, by way of the Parquet file that stays."""
    with Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("encoding", total=len(files))
        summary = encode_images(
            encoder,
            files,
            output,
            batch_size=64,
            overwrite=True,
            on_progress=lambda done, total, error: progress.update(bar, completed=done, total=total),
        )
    features = np.stack([row for _, row in read_features(output)])
    console.print(
        f"encoded {len(features):,} images in {summary.seconds:.1f} s: features {features.shape}, "
        "that is (images, tokens, width)",
        highlight=False,
    )
    return features


def _print_facts(console: Console, encoder: ComposedVisionEncoder) -> None:
    plan = encoder.plan
    side = plan.info.image_size
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("encoder", f"{plan.config.name} ({plan.info.model_type})")
    table.add_row("parameters", f"{plan.num_parameters:,}")
    table.add_row(
        "images", f"{side} x {side} pixels, patches of {plan.info.patch_size} x {plan.info.patch_size}"
    )
    table.add_row("tokens", f"{plan.num_tokens(side, side)} per image")
    table.add_row("selected", f"hidden states {', '.join(map(str, plan.select_layers))}")
    table.add_row("width", f"{plan.output_width} = {len(plan.select_layers)} x {plan.info.hidden_size}")
    console.print(table)


def _print_probes(console: Console, probes: dict[str, ProbeResult]) -> None:
    table = Table(title="linear probe", title_justify="left", title_style="bold")
    table.add_column("features")
    table.add_column("held-out accuracy ± standard error", justify="right")
    table.add_column("right", justify="right")
    best = max(result.correct for result in probes.values())
    for name, result in probes.items():
        style = "bold" if result.correct == best else None
        table.add_row(name, str(result), f"{result.correct}/{result.total}", style=style)
    console.print(table)
    sizes = {name: part.stop - part.start for name, part in PARTS.items()}
    console.print(
        f"Each probe was fitted on {sizes['probe_train']} digits and judged on {sizes['probe_test']} others; "
        f"the encoder was trained on the remaining {sizes['encoder']}.",
        highlight=False,
    )
