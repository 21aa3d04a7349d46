"""Which matrix products code computes."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Products(TorchDispatchMode):
    """Notes each product of two matrices: its rows, and how many inputs and outputs each has."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, int, int]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function._schema.name in ("aten::mm", "aten::addmm"):
            rows, weight = [each for each in args if isinstance(each, torch.Tensor)][-2:]
            self.shapes.append((len(rows), *weight.shape))
        return result
