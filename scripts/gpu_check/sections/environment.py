"""The machine, the packages, and which attention backends work there."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import partial
from typing import Any

import torch

from vision_composer.attention import select_attn_backend

from ..packages import FLASH_PACKAGES, versions
from ..recorder import Recorder

PACKAGES = (
    *("vision-composer", "torch", "transformers", "triton", "torchvision", "numpy", "pillow", "torchao"),
    *("timm", "onnxruntime", "onnxruntime-gpu", *(package.distribution for package in FLASH_PACKAGES)),
)
SITUATIONS = (
    *(("float32", 64, False), ("float16", 64, False), ("bfloat16", 64, False), ("bfloat16", 64, True)),
    *(("bfloat16", 72, False), ("bfloat16", 80, False), ("bfloat16", 20, False)),
)
"""dtype, head size, and whether gradients are needed."""


def check(record: Recorder) -> None:
    record("machine", partial(machine, record))
    record("packages", lambda: facts(versions(*PACKAGES)))
    record("attention backends", partial(attention_backends, record))


def facts(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each."""
    return [{"fact": name, "value": value} for name, value in found.items()]


def machine(record: Recorder) -> list[dict[str, Any]]:
    found: dict[str, Any] = {"python": platform.python_version(), "processors": os.cpu_count()}
    found |= {"processor capability": torch.backends.cpu.get_cpu_capability()}
    if record.on_gpu:
        properties = torch.cuda.get_device_properties(record.device)
        found |= {
            "card": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "GiB": properties.total_memory / 2**30,
            "multiprocessors": properties.multi_processor_count,
            "cards": torch.cuda.device_count(),
            "architectures": " ".join(torch.cuda.get_arch_list()),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "nccl": ".".join(map(str, torch.cuda.nccl.version())),
            "driver": driver(),
        }
    return facts(found | {"float32 products": torch.get_float32_matmul_precision()})


def driver() -> str:
    command = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)


def attention_backends(record: Recorder) -> list[dict[str, Any]]:
    """What is chosen, what works, and why the others do not."""
    rows = []
    for packed in (False, True):
        for name, head_size, training in SITUATIONS:
            choice = select_attn_backend(
                head_size, getattr(torch, name), record.device, packed=packed, training=training
            )
            row = {"packed": packed, "dtype": name, "head size": head_size, "training": training}
            row |= {"chosen": choice.implementation, "works": " ".join(b.value for b in choice.working)}
            rows.append(row | {backend.value: reason for backend, reason in choice.passed_over.items()})
    return rows
