"""A comparison of programs with times of our own choice."""

from __future__ import annotations

from vision_composer.bench import BenchResult, Row

OURS = Row("vision-composer", (0.2, 0.1, 0.4), 0.5, 3 * 2**20, 0, 0, 0.0)
COMPILED = Row("vision-composer, compiled", (0.1, 0.1, 0.1), 30.0, 2**20, 4, 1, 1e-6)
PEER = Row("transformers", (0.3, 0.5, 0.4), 0.6, None, 0, 0, 2e-6)
RESULT = BenchResult(
    config="small",
    model_type="clip_vision_model",
    num_blocks=3,
    num_hidden_layers=4,
    weights=None,
    dtype="float32",
    quantize="none",
    device="a processor",
    threads=2,
    images=((32, 32), (32, 32), (64, 32)),
    num_patches=64,
    flops=20 * 10**9,
    peak_flops_per_second=200e9,
    versions={"torch": "2.13.0", "transformers": "5.24.0"},
    rows=(OURS, COMPILED, PEER),
)
