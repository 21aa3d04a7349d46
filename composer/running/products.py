"""Whose float32 matrix products frozen blocks use on this CPU: MKL's, or those that were measured faster."""

from __future__ import annotations

import json
import os
import platform
import re
import warnings
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

import torch

from ..files import read_json
from .widths import padded

if TYPE_CHECKING:
    from ..tower.module import VisionTower

MKL = "mkl"
"""MKL's products of packed weights, which inductor takes for frozen float32 weights."""
ONEDNN = "onednn"
"""oneDNN's products of packed weights, with the activation behind them."""

_FORMAT = "vision-composer products 2"
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
"""Environment variables that hold the libraries to fewer instructions than the processor has."""


class Product(NamedTuple):
    """A matrix product: so many rows of ``inputs`` values, by a weight that makes ``outputs`` of each."""

    rows: int
    inputs: int
    outputs: int

    def __str__(self) -> str:
        return f"{self.rows}x{self.inputs}x{self.outputs}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str`` writes.

        Raises:
            ValueError: If it is nothing of the kind.
        """
        found = re.fullmatch(r"([1-9]\d{0,17})x([1-9]\d{0,17})x([1-9]\d{0,17})", text, re.ASCII)
        if found is None:
            raise ValueError(f"{text!r:.80} is no product such as 577x1024x4096")
        return cls(*map(int, found.groups()))


Measured: TypeAlias = dict[Product, str]
"""Products that were measured -> :data:`MKL` or :data:`ONEDNN`, whichever was faster."""


def library_for(product: Product, measured: Measured) -> str:
    """Return whose product to use: as measured for such a weight and the nearest rows, or MKL's."""
    alike = [other for other in measured if other[1:] == product[1:]]
    nearest = min(alike, key=lambda other: abs(log(other.rows / product.rows)), default=None)
    return MKL if nearest is None else measured[nearest]


def has_choice(dtype: torch.dtype) -> bool:
    """Return whether there are products to choose from: in other dtypes oneDNN's are the only ones."""
    return dtype is torch.float32 and bool(torch._C.has_mkl and torch._C._has_mkldnn)


def packs_any_rows(dtype: torch.dtype) -> bool:
    """Return whether frozen weights of a dtype are packed for any number of rows, and faster for it.

    oneDNN's are. In float32 its products are slower than MKL's where there is no AVX-512.
    """
    if dtype is torch.bfloat16:
        return bool(torch._C._has_mkldnn and torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return has_choice(dtype) and torch.backends.cpu.get_cpu_capability() == "AVX512"


def recall(tower: VisionTower) -> Measured | None:
    """Return what was measured on this machine for weights like those of a tower.

    A file that cannot be understood is passed over with a warning.

    Returns:
        None where there is nothing to choose from.
    """
    if not has_choice(next(tower.parameters()).dtype):
        return None
    kept = _read(products_file()).get(machine(), {})
    shapes = {tuple(map(padded, weight.shape)) for weight in tower.parameters()}
    return {product: name for product, name in kept.items() if (product.outputs, product.inputs) in shapes}


def keep(measured: Measured) -> Path:
    """Keep what was measured on this machine for :func:`recall`; return the file.

    Raises:
        OSError: If the file cannot be written.
    """
    path = products_file()
    kept = _read(path)
    kept[machine()] = {**kept.get(machine(), {}), **measured}
    machines = {name: {str(product): of for product, of in each.items()} for name, each in kept.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_text(json.dumps({"format": _FORMAT, "machines": machines}, indent=2) + "\n", encoding="utf-8")
    new.replace(path)
    return path


def products_file() -> Path:
    """Return the file in the user's cache folder that measurements are kept in."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "vision-composer" / "products.json"


def machine() -> str:
    """Return what a measurement holds for: processor, instructions, threads and torch."""
    limits = [f"{name}={value}" for name in _LIMITS if (value := os.environ.get(name))]
    return ", ".join(
        (
            cpu_name(),
            torch.backends.cpu.get_cpu_capability(),
            *limits,
            f"{torch.get_num_threads()} threads",
            f"torch {torch.__version__}",
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


def _read(path: Path) -> dict[str, Measured]:
    try:
        return _machines(read_json(path))
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


def _machines(content: dict[str, Any]) -> dict[str, Measured]:
    """Return machine -> what was measured on it.

    Raises:
        ValueError: If a file has other content.
    """
    machines = content.get("machines")
    if content.get("format") != _FORMAT or not isinstance(machines, dict):
        raise ValueError(f"it is no file of format {_FORMAT!r}")
    kept: dict[str, Measured] = {}
    for name, products in machines.items():
        if not isinstance(products, dict):
            raise ValueError(f"{products!r:.80} are no products")
        if unknown := [of for of in products.values() if of not in (MKL, ONEDNN)]:
            raise ValueError(f"there are no products called {unknown[0]!r:.80}")
        kept[name] = {Product.parse(product): of for product, of in products.items()}
    return kept
