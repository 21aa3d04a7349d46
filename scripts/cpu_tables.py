"""Run the benches whose tables docs/performance.md holds, each in a process of its own, and write Markdown.

    python scripts/cpu_tables.py -o cpu-tables.md
    python scripts/cpu_tables.py -o cpu-tables.md --only "CLIP float32"

Every tower is timed in float32 and bfloat16, with the instructions that the processor has: libraries are held
to AVX2 and to AVX-512 by environment variables. Encoders are cut to fewer blocks, the same on all sides, so
that all of it takes about ten minutes on two cores that do nothing else. Each table is written when it is
done; a bench that fails is named, and the others go on. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

_AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
_AVX512 = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}

RUNS: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("AVX2", "float32", "avx2", _AVX2),
    ("AVX-512", "float32", "avx512f", {}),
    ("AVX2", "bfloat16", "avx2", _AVX2),
    ("AVX-512", "bfloat16", "avx512_bf16", _AVX512),
    ("AMX", "bfloat16", "amx_bf16", {}),
)
"""Instructions, dtype, the flag in /proc/cpuinfo of a processor that has them, and what holds libraries to
them. Products of float32 do not use AMX."""

_FROZEN = ("--set", "compile.mode=max-performance")

TOWERS = {
    "CLIP": (
        "llava-1.5-7b",
        *_FROZEN,
        "--set",
        "encoder.num_hidden_layers=8",
        "--set",
        "select_layers=[-1]",
    ),
    "SigLIP": ("siglip-so400m-patch14-384", *_FROZEN, "--set", "encoder.num_hidden_layers=6"),
    "Qwen2.5-VL": (
        *("qwen2.5-vl-7b", *_FROZEN, "--images", "700x700,448x280"),
        *("--set", "encoder.depth=4", "--set", "encoder.fullatt_block_indexes=[3]"),
    ),
    "Pixtral": (
        *("pixtral-12b", *_FROZEN, "--set", "encoder.num_hidden_layers=1", "--images"),
        "512x512,640x480,256x256,320x448,384x384,224x640,464x256",
    ),
}
"""Name -> what bench is called with beside peers, rounds and dtype."""

_SLOW = ("--set", "encoder.num_hidden_layers=2")
"""Blocks of CLIP in bfloat16 on AVX2, where its products take five times as long as those of float32."""

_TIMEOUT = 300


@dataclass(frozen=True)
class Case:
    """A bench: what it is called, what it is run with, and the environment variables that hold libraries."""

    name: str
    arguments: tuple[str, ...]
    held: Mapping[str, str]

    @property
    def command(self) -> str:
        """What a user types."""
        return shlex.join([*(f"{key}={value}" for key, value in self.held.items()), *self._words])

    @property
    def _words(self) -> tuple[str, ...]:
        return "vision-composer", "bench", *self.arguments

    def run(self, timeout: float) -> dict[str, Any]:
        """Return what ``bench --json`` prints.

        Raises:
            RuntimeError: If it fails, or takes too long.
        """
        command = [sys.executable, "-m", "vision_composer", *self._words[1:], "--json"]
        # Held already, libraries would be faster or slower than the command says.
        free = {key: value for key, value in os.environ.items() if key not in _AVX2}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout, env={**free, **self.held}
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"it took more than {timeout:.0f} seconds") from None
        if done.returncode:
            last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
            raise RuntimeError(f"exit status {done.returncode}: {last}")
        try:
            result: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
        except ValueError as error:
            raise RuntimeError(f"no JSON: {error}") from None
        return result


def cases(flags: frozenset[str], rounds: int) -> Iterator[Case]:
    """Every bench that this processor can run."""
    for tower, arguments in TOWERS.items():
        for instructions, dtype, flag, held in RUNS:
            slow = (instructions, dtype) == ("AVX2", "bfloat16")
            if flag not in flags or (slow and tower != "CLIP"):
                continue
            # Nothing holds ONNX Runtime to fewer instructions than the processor has.
            beside = tower == "CLIP" and dtype == "float32" and (bool(held) is not ("avx512f" in flags))
            peers = "transformers,onnxruntime" if beside else "transformers"
            options = ("--against", peers, "--rounds", str(rounds), "--set", "weights.source=null")
            cut = _SLOW if slow else ()
            yield Case(
                f"{tower} {dtype} {instructions}",
                (*arguments, *cut, *options, "--set", f"weights.dtype={dtype}"),
                held,
            )


def table(result: Mapping[str, Any]) -> str:
    """A bench's result as Markdown: a line of what was run, and a row for each program."""
    peers = list(result["rows"][0]["speed_against"])
    columns = ["", "ms", "min-max", *(f"x {peer}" for peer in peers), "GFLOP/s", "of peak", "first s"]
    facts = [
        f"{result['num_blocks']} of {result['num_hidden_layers']} blocks",
        f"{result['num_patches']:,} patches",
        f"{result['device']}, {result['threads']} threads",
        f"{result['peak_flops_per_second'] / 1e9:,.0f} GFLOP/s in a matrix product",
        *_products(result["products_measured"]),
        ", ".join(f"{name} {version}" for name, version in result["versions"].items()),
    ]
    lines = ["; ".join(facts), "", _row(columns), _row(["---"] * len(columns))]
    for row in result["rows"]:
        rate, seconds = row["flops_per_second"], row["seconds"]
        lines.append(
            _row(
                [
                    row["name"],
                    f"{row['median_seconds'] * 1e3:,.0f}",
                    f"{min(seconds) * 1e3:,.0f}-{max(seconds) * 1e3:,.0f}",
                    *(f"{row['speed_against'][peer]:.2f}" for peer in peers),
                    "-" if rate is None else f"{rate / 1e9:,.0f}",
                    "-" if rate is None else f"{rate / result['peak_flops_per_second']:.0%}",
                    f"{row['first_seconds']:.1f}",
                ]
            )
        )
    return "\n".join(lines)


def summary(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The compiled tower's speed in every bench, in one table."""
    columns = ["compiled", "x transformers", "x onnxruntime", "of peak"]
    lines = [_row(columns), _row(["---"] * len(columns))]
    for name, result in results.items():
        row = next(row for row in result["rows"] if row["name"].endswith("compiled"))
        speeds = [row["speed_against"].get(peer) for peer in ("transformers", "onnxruntime")]
        rate = row["flops_per_second"]
        share = "-" if rate is None else f"{rate / result['peak_flops_per_second']:.0%}"
        lines.append(_row([name, *("-" if speed is None else f"{speed:.2f}" for speed in speeds), share]))
    return "\n".join(lines)


def _products(measured: bool | None) -> Iterator[str]:
    """Say whose matrix products frozen blocks used, where there is a choice."""
    if measured is not None:
        yield f"products of frozen blocks: {'as measured' if measured else 'MKL'}"


def _row(texts: list[str]) -> str:
    return f"| {' | '.join(texts)} |"


def measure(chosen: list[Case], file: TextIO, timeout: float) -> list[str]:
    """Run benches and write each table when it is done; return the names of those that failed."""
    results: dict[str, dict[str, Any]] = {}
    failed = []

    def write(text: str) -> None:
        for stream in (file, sys.stdout):
            print(text, file=stream, flush=True)

    for number, case in enumerate(chosen, 1):
        write(f"### {case.name}\n\n```console\n$ {case.command}\n```\n")
        start = time.monotonic()
        try:
            results[case.name] = case.run(timeout)
            write(f"{table(results[case.name])}\n")
        except (RuntimeError, KeyError, TypeError) as error:
            failed.append(case.name)
            write(f"Failed: {error}\n")
        print(f"{number} of {len(chosen)}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    if results:
        write(f"### All\n\n{summary(results)}\n")
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("cpu-tables.md"))
    parser.add_argument("--only", default="", help="benches whose names have these words, such as 'CLIP AMX'")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--timeout", type=float, default=_TIMEOUT, help="seconds for one bench")
    options = parser.parse_args()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        parser.error(f"what the processor can do is read from /proc/cpuinfo: {error.strerror}")
    flags = frozenset(next((line for line in lines if line.startswith("flags")), "").split())
    words = options.only.split()
    chosen = [case for case in cases(flags, options.rounds) if set(words) <= set(case.name.split())]
    if not chosen:
        parser.error(f"no bench of this processor has the words {options.only!r} in its name")
    with options.output.open("w", encoding="utf-8") as file:
        for instructions, dtype, flag, _ in RUNS:
            if flag not in flags:
                print(f"{dtype} on {instructions} is left out: this processor has no {flag}.\n", file=file)
        failed = measure(chosen, file, options.timeout)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
