"""Towers recorded as CUDA graphs on a GPU, beside the same towers as they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import tiny

from vision_composer import ComposedVisionEncoder, compose, plan
from vision_composer.bench.comparison import noise
from vision_composer.encoders import FAMILIES
from vision_composer.running.cuda_graphs import CudaGraphs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device on this machine"),
]


def recorded_families() -> list[str]:
    infos = {name: plan({"schema": 1, "encoder": encoder}).info for name, encoder in tiny.ALL.items()}
    return [name for name, info in infos.items() if FAMILIES[info.model_type].padding(info) is not None]


def random_weights(name: str) -> dict[str, torch.Tensor]:
    return tiny.scramble(compose({"schema": 1, "encoder": tiny.ALL[name]})).state_dict()


def on_gpu(name: str, **keys: Any) -> ComposedVisionEncoder:
    weights = {"source": None, "dtype": "bfloat16"}
    source = {"schema": 1, "encoder": tiny.ALL[name], "weights": weights, **keys}
    return compose(source, device="cuda")


@pytest.mark.parametrize("name", recorded_families())
@torch.inference_mode()
def test_a_recorded_tower_has_the_features_of_the_tower(name: str) -> None:
    plain = on_gpu(name)
    recorded = on_gpu(name, compile={"backend": "eager", "token_budgets": [256, 1024]})
    assert recorded.tower.run_batch is not None
    weights = random_weights(name)
    for encoder in (plain, recorded):
        encoder.load_state_dict(weights)
    side = plain.info.image_size
    kept = []
    for images in (1, 3, 2, 1):
        sizes = [(56 + 28 * i, 84) if plain.info.ragged else (side, side) for i in range(images)]
        batch = noise(plain, sizes)
        kept.append((list(recorded(**batch)), list(plain(**batch))))
    for got, want in kept:  # at the end: no batch may overwrite another's features
        for one, other in zip(got, want, strict=True):
            assert one.shape == other.shape
            assert float((one - other).abs().max()) < 0.05 * float(other.abs().max())


@torch.inference_mode()
def test_streams_take_turns() -> None:
    graphs = CudaGraphs(torch.device("cuda"))
    memory = torch.zeros(2**24, device="cuda")
    run = graphs(lambda: memory * 2)
    results = []
    for number in range(1, 9):
        with torch.cuda.stream(torch.cuda.Stream()), graphs.one_at_a_time():
            memory.fill_(number)
            results.append(run().clone())
    torch.cuda.synchronize()
    assert [(float(r.min()), float(r.max())) for r in results] == [(2.0 * n, 2.0 * n) for n in range(1, 9)]
