"""GPUs and packages of attention kernels that are not here."""

from __future__ import annotations

import importlib.metadata
from functools import partial
from importlib.machinery import ModuleSpec

import pytest
import torch

from vision_composer.attention import requirements

FLASH_PACKAGES = ("flash-attn", "flash-attn-3", "flash-attn-4")


def pretend_packages(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Of the packages with flash-attention kernels, these are installed and no others."""
    find_distribution = importlib.metadata.version

    def version(name: str) -> str:
        if name not in FLASH_PACKAGES:
            return find_distribution(name)
        if name not in packages:
            raise importlib.metadata.PackageNotFoundError(name)
        return "9.9.9"

    monkeypatch.setattr(requirements, "version", version)
    monkeypatch.setattr(requirements, "find_spec", lambda name: ModuleSpec(name, None))


def pretend_gpu(
    monkeypatch: pytest.MonkeyPatch, major: int = 9, minor: int = 0, *, packages: tuple[str, ...] = ()
) -> None:
    """There is one GPU, of this compute capability, and there are these packages."""
    pretend_packages(monkeypatch, *packages)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (major, minor))


class Accelerators:
    """CUDA devices as torch.accelerator tells of them, and the number that a launcher gave this process.

    Args:
        monkeypatch: Takes everything back.
        devices: How many there are.
        current: The current one.
        local_rank: What LOCAL_RANK says; None if it is not set.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, devices: int, current: int, local_rank: str | None
    ) -> None:
        self.current = current
        kind = torch.device("cuda") if devices else None
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: kind)
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: devices)
        monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: self.current)
        monkeypatch.setattr(torch.accelerator, "set_device_index", partial(setattr, self, "current"))
        monkeypatch.delenv("LOCAL_RANK", raising=False)
        if local_rank is not None:
            monkeypatch.setenv("LOCAL_RANK", local_rank)
