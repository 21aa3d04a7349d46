"""A device that is not here: memory of the CPU that is marked, and what makes the host wait for it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter, tree_map

DEVICE = torch.device("cuda", 0)

_READS = {
    *("item", "tolist", "cpu", "numpy", "__array__", "__bool__", "__int__", "__float__", "__index__"),
    *("__contains__", "__format__", "__repr__", "nonzero", "argwhere", "masked_select", "equal"),
    *("is_nonzero", "allclose", "unique", "unique_consecutive", "_unique2", "bincount"),
    *("arange", "linspace", "full", "empty", "zeros", "ones"),
}
"""Functions that need values of a tensor that they are given on the host."""
_FACTS = {Tensor.device: DEVICE, Tensor.is_cuda: True, Tensor.is_cpu: False}


class StandIn(TorchFunctionMode):
    """Inside, tensors can be moved to ``DEVICE`` and computed on there; counts where the host waits.

    What is made of a tensor on the device is on the device. A function of torch that is written in Python is
    not looked into.

    Attributes:
        waits: Places in the code that need values from the device, or copy ordinary memory to it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._storages: dict[int, Any] = {}
        self._pinned: dict[int, Any] = {}
        self.waits: Counter[str] = Counter()

    def put(self, tensors: Iterable[object]) -> None:
        """Mark the memory of tensors as the device's."""
        for tensor in tensors:
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self._storages[storage._cdata] = storage  # held, so that no other gets its address

    def holds(self, value: object) -> bool:
        """Return whether a value is a tensor on the device."""
        return isinstance(value, Tensor) and value.untyped_storage()._cdata in self._storages

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name, options = getattr(function, "__name__", ""), kwargs or {}
        if name == "__get__" and self.holds(args[0]) and function.__self__ in _FACTS:  # type: ignore[attr-defined]
            return _FACTS[function.__self__]  # type: ignore[attr-defined]
        if name == "pin_memory":
            pinned = args[0].clone()
            self._pinned[pinned.untyped_storage()._cdata] = pinned.untyped_storage()
            return pinned
        asked = [torch.device(value) for value in (*args, *options.values()) if _is_device(value)]
        if name == "to" and (asked or any(isinstance(value, Tensor) for value in args[1:])):
            there = asked[0] == DEVICE if asked else any(map(self.holds, args[1:]))
            return self._moved(function, args, options, there=there)
        inside = [value for value in tree_iter((args, options)) if self.holds(value)]
        if self._waits(name, args, options, inside) or (name == "tensor" and DEVICE in asked):
            self.waits[_place()] += 1
        elif inside:
            self._refuse_mixtures(name, args)
        here, with_options = tree_map(lambda value: "cpu" if _is_device(value) else value, (args, options))
        result = function(*here, **with_options)
        if name == "cpu":
            return result.clone() if inside else result
        if inside or DEVICE in asked:
            self.put(tree_iter(result))
        return result

    def _moved(self, function: Callable[..., Any], args: Any, options: Any, *, there: bool) -> Any:
        tensor, *rest = args
        dtypes = [value for value in (*rest, *options.values()) if isinstance(value, torch.dtype)]
        dtypes += [value.dtype for value in rest if isinstance(value, Tensor)]
        result = function(tensor, dtypes[0]) if dtypes else tensor
        if self.holds(tensor) != there:
            # What comes from the device without blocking, torch copies to pinned memory of its own.
            is_pinned = not there or tensor.untyped_storage()._cdata in self._pinned
            if not (is_pinned and options.get("non_blocking")):
                self.waits[_place()] += 1
            result = result.clone()
        if there:
            self.put([result])
        return result

    def _waits(self, name: str, args: Any, options: Any, inside: list[Any]) -> bool:
        if name in ("__getitem__", "__setitem__") and self.holds(args[0]):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            tensors = [part for part in index if isinstance(part, Tensor)]
            masks = [part for part in tensors if part.dtype == torch.bool]
            fills = name == "__setitem__" and not isinstance(args[2], Tensor)
            sent = [part for part in tensors if part.dim() and not self.holds(part)]
            return bool((masks and not fills) or sent or any(isinstance(part, list) for part in index))
        if name == "repeat_interleave":
            counts = args[1] if len(args) > 1 else options.get("repeats")
            return self.holds(counts) and "output_size" not in options
        return bool(inside) and (name in _READS or (name == "where" and len(args) == 1))

    def _refuse_mixtures(self, name: str, args: Any) -> None:
        """A device computes on no tensor of the host but a single number."""
        others = [value for value in tree_iter(args) if isinstance(value, Tensor) and not self.holds(value)]
        assert not any(value.dim() for value in others), f"{name} of a tensor on the host, at {_place()}"


def _is_device(value: object) -> bool:
    return isinstance(value, torch.device | str) and str(value) in ("cpu", "cuda", str(DEVICE))


def _place() -> str:
    """Return the innermost line of code that is neither torch's nor of this file."""
    frame = sys._getframe(1)
    while frame.f_back and ("/torch/" in frame.f_code.co_filename or frame.f_code.co_filename == __file__):
        frame = frame.f_back
    return f"{'/'.join(frame.f_code.co_filename.split('/')[-2:])}:{frame.f_lineno} {frame.f_code.co_name}"
