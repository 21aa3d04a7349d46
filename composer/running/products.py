"""Whose matrix products frozen blocks use on this CPU: the fastest that were measured, or the default."""

from __future__ import annotations

import json
import os
import platform
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ..files import read_json

if TYPE_CHECKING:
    from ..tower.module import VisionTower

LIBRARY = "library"
"""MKL's products of packed weights in float32, and oneDNN's in bfloat16: what inductor takes untuned."""
_ONEDNN = "onednn"
"""oneDNN's products of packed weights in float32 too, with the activation behind them."""
_INDUCTOR = "inductor"
"""Products that inductor writes in C++ itself."""

_FORMAT = "vision-composer products 1"
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
"""Environment variables that hold the libraries to fewer instructions than the processor has."""


class ProductChoice(NamedTuple):
    """Whose products are used, and whether because that was measured."""

    name: str = LIBRARY
    measured: bool = False

    def __str__(self) -> str:
        return f"{self.name}, {'measured on this machine' if self.measured else 'the default'}"


def candidates(dtype: torch.dtype) -> tuple[str, ...]:
    """Return what there is to choose from, the default first."""
    both = torch._C.has_mkl and torch._C._has_mkldnn
    return (LIBRARY, _ONEDNN, _INDUCTOR) if dtype is torch.float32 and both else (LIBRARY, _INDUCTOR)


def product_options(name: str) -> dict[str, Any]:
    """Return the options of inductor that make it use these products."""
    if name == _INDUCTOR:
        tuned = {"max_autotune_gemm_backends": "CPP", "autotune_num_choices_displayed": 0}
        return {"max_autotune": True, **tuned}
    if name == _ONEDNN:
        from .cpu_products import OneDNNProducts

        return {"max_autotune": False, "post_grad_custom_pre_pass": OneDNNProducts()}
    return {"max_autotune": False}


def recall(tower: VisionTower) -> ProductChoice:
    """Return what was measured for towers of these weights on this machine, or the default.

    A file that cannot be understood is passed over with a warning.
    """
    path = products_file()
    name = _read(path).get(product_key(tower))
    return ProductChoice() if name is None else ProductChoice(name, measured=True)


def keep(tower: VisionTower, name: str) -> Path:
    """Keep a measured choice for :func:`recall`; return the file.

    Raises:
        OSError: If the file cannot be written.
    """
    path = products_file()
    kept = {**_read(path), product_key(tower): name}
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_text(json.dumps({"format": _FORMAT, "products": kept}, indent=2) + "\n", encoding="utf-8")
    new.replace(path)
    return path


def products_file() -> Path:
    """Return the file in the user's cache folder that choices are kept in."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "vision-composer" / "products.json"


def product_key(tower: VisionTower) -> str:
    """Return what a measurement holds for: processor, instructions, threads, torch, dtype and widths."""
    limits = [f"{name}={value}" for name in _LIMITS if (value := os.environ.get(name))]
    first = tower.blocks[0]
    weights = [weight for weight in first.parameters() if weight.dim() == 2]
    return ", ".join(
        (
            cpu_name(),
            torch.backends.cpu.get_cpu_capability(),
            *limits,
            f"{torch.get_num_threads()} threads",
            f"torch {torch.__version__}",
            str(next(tower.parameters()).dtype).removeprefix("torch."),
            *dict.fromkeys(f"{len(weight)}x{weight.shape[1]}" for weight in weights),
        )
    )


def cpu_name() -> str:
    """Return what the maker calls the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _read(path: Path) -> dict[str, str]:
    try:
        content = read_json(path)
        kept = content.get("products")
        if content.get("format") != _FORMAT or not isinstance(kept, dict):
            raise ValueError(f"it is no file of format {_FORMAT!r}")
        if unknown := [name for name in kept.values() if name not in (LIBRARY, _ONEDNN, _INDUCTOR)]:
            raise ValueError(f"there are no products called {unknown[0]!r:.80}")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        warnings.warn(
            f"{path}: passed over, because it is not what bench --calibrate-products writes: {reason}; "
            "run that again to replace it",
            stacklevel=2,
        )
        return {}
    return kept
