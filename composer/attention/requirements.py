"""What each attention backend needs in order to run, and which of it is missing in a given situation."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Situation:
    """Where and for what attention is to run.

    Attributes:
        device_type: ``cpu``, ``cuda``, ...
        capability: Compute capability of a CUDA device; (0, 0) elsewhere.
        dtype: The dtype of the parameters.
        head_size: Width of one attention head.
        packed: Whether images of different sizes share one sequence.
        training: Whether gradients are needed.
        compiled: Whether torch.compile must trace blocks whole.
        model_class: transformers' class of a dense tower; None if it is not known.
    """

    device_type: str
    capability: tuple[int, int]
    dtype: torch.dtype
    head_size: int
    packed: bool = False
    training: bool = False
    compiled: bool = False
    model_class: type | None = None


@dataclass(frozen=True)
class FlashPackage:
    """A package with flash-attention kernels.

    Attributes:
        distribution: Its name for pip; two distributions share the module ``flash_attn``.
        module: The module that has its ``flash_attn_varlen_func``.
        torch_name: Its name in ``torch.nn.attention.activate_flash_attention_impl``; empty if it has none.
    """

    distribution: str
    module: str
    torch_name: str = ""

    @property
    def installed(self) -> bool:
        """Return whether it is installed, without importing it."""
        try:
            version(self.distribution)
        except PackageNotFoundError:
            return False
        return find_spec(self.module.partition(".")[0]) is not None

    @property
    def active(self) -> bool:
        """Return whether torch's own attention is switched to its kernels."""
        from torch.nn.attention import current_flash_attention_impl

        return bool(self.torch_name) and current_flash_attention_impl() == self.torch_name


@dataclass(frozen=True)
class Requirements:
    """What a backend needs. A field at its default needs nothing.

    Attributes:
        merit: Why it is preferred to the backends after it.
        cuda_only: Whether it runs on CUDA only.
        cpu_reference: Whether it has only a slow reference on other devices than CUDA, for packed images and
            without gradients.
        packed_only: Whether it runs packed images only.
        half_only: Whether it takes float16 and bfloat16 only.
        capabilities: Smallest and largest major compute capability of CUDA devices; None: no largest.
        head_sizes: Smallest and largest head size; None: no largest.
        head_multiple: The head size must be a multiple of this.
        traceable: Whether torch.compile can trace its package's function.
        package: The package with its kernels.
        declared: The attribute by which a class of transformers declares support.
    """

    merit: str = ""
    cuda_only: bool = False
    cpu_reference: bool = False
    packed_only: bool = False
    half_only: bool = False
    capabilities: tuple[int, int | None] = (0, None)
    head_sizes: tuple[int, int | None] = (1, None)
    head_multiple: int = 1
    traceable: bool = True
    package: FlashPackage | None = None
    declared: str = ""

    def obstacle(self, situation: Situation) -> str | None:
        """Return why the backend cannot run there, as the rest of a sentence about it; None if it can."""
        return self._place(situation) or self._values(situation) or self._code(situation)

    def _place(self, situation: Situation) -> str | None:
        device = situation.device_type
        if self.packed_only and not situation.packed:
            return "is for packed images; sdpa runs the same kernels on a batch"
        if device != "cuda":
            if self.cuda_only:
                return f"runs on CUDA, not on {device}"
            if self.cpu_reference and not situation.packed:
                return f"is compiled for CUDA; on {device} it falls back to an unfused reference"
            if self.cpu_reference and situation.training:
                return f"has no backward pass on {device}"
            return None
        major, minor = situation.capability
        if not _within(major, self.capabilities):
            return f"needs a GPU of compute capability {_range(self.capabilities)}, not {major}.{minor}"
        return None

    def _values(self, situation: Situation) -> str | None:
        dtype, size = str(situation.dtype).removeprefix("torch."), situation.head_size
        if self.half_only and dtype not in ("float16", "bfloat16"):
            return f"needs float16 or bfloat16, not {dtype}"
        # Only compiled code has these bounds.
        if not _within(size, self.head_sizes) and situation.device_type == "cuda":
            return f"needs a head size of {_range(self.head_sizes)}, not {size}"
        if size % self.head_multiple:
            return f"needs a head size that is a multiple of {self.head_multiple}, not {size}"
        return None

    def _code(self, situation: Situation) -> str | None:
        package, model_class = self.package, situation.model_class
        by_torch = package is not None and situation.packed and package.active
        if package is not None and not package.installed and not by_torch:
            return f"needs the {package.distribution} package, which is not installed"
        if situation.compiled and not self.traceable and not by_torch:
            return "is no operator of torch, so torch.compile cannot trace it"
        if self.declared and model_class is not None and not getattr(model_class, self.declared, False):
            return f"is not supported by transformers' {model_class.__name__}"
        return None


def _within(value: int, bounds: tuple[int, int | None]) -> bool:
    least, most = bounds
    return least <= value and (most is None or value <= most)


def _range(bounds: tuple[int, int | None]) -> str:
    least, most = bounds
    if most is None:
        return f"at least {least}"
    return f"{least}" if least == most else f"{least} to {most}"
