"""How large this processor's vectors are, for torch's compiler."""

from __future__ import annotations

from typing import Any

import torch

AVX2_BITS = 256


def vector_bits() -> int | None:
    """Return the size of the vectors of AVX2 or AVX-512, whichever torch uses here; None: neither."""
    return {"AVX2": AVX2_BITS, "AVX512": 512}.get(torch.backends.cpu.get_cpu_capability())


def vector_options(backend: str, device_type: str) -> dict[str, Any]:
    """Return the option of inductor that says how large the vectors are; none elsewhere.

    torch's cache on disk does not tell vectors of one size from those of another: code that an AVX-512
    processor left there gives garbage on one with AVX2. As an option, the size is part of the cache's key.
    """
    bits = vector_bits()
    return {"cpp.simdlen": bits} if bits and backend == "inductor" and device_type == "cpu" else {}
