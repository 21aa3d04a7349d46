"""scripts/bench_ranks.py under torchrun: all ranks compute what one computes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from support import tiny

ROOT = Path(__file__).resolve().parents[1]


def bench_ranks(folder: Path, ranks: int, *options: str) -> str:
    """What the script prints about a tiny Pixtral."""
    config = folder / "tower.yaml"
    config.write_text(yaml.safe_dump({"schema": 1, "encoder": tiny.PACKED["pixtral"]}))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    script = [str(ROOT / "scripts/bench_ranks.py"), str(config), "--images=4", "--patches=64", "--rounds=1"]
    run = subprocess.run(
        [*launch, *script, *options],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


@pytest.mark.slow
def test_two_ranks_on_the_cpu(tmp_path: Path) -> None:
    first, *_, last = bench_ranks(tmp_path, 2, "--device=cpu").splitlines()
    assert first.startswith("4 images, 4 blocks, float32 on ")
    assert float(first.partition("within ")[2].split()[0]) < 1e-5
    assert last.endswith("x as fast, by medians of 1 rounds")


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="torch sees fewer than two CUDA devices here")
def test_a_rank_on_every_gpu(tmp_path: Path) -> None:
    first, *_ = bench_ranks(tmp_path, torch.cuda.device_count(), "--dtype=bfloat16").splitlines()
    assert "bfloat16 on NVIDIA" in first
    assert float(first.partition("within ")[2].split()[0]) < 5e-2
