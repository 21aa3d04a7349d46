"""Send small tensors to a device. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_ALIGNED = 16
"""Every tensor of a parcel begins at a multiple of so many numbers: kernels read 16 bytes at once or more."""


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Return a tensor on ``device``; the host goes on while a CUDA device copies it.

    From ordinary memory of the host the copy would first wait for all work that the device was given.
    """
    if str(device).startswith("cuda") and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class Parcel:
    """Small tensors that go to a device together, in one copy for which the host does not wait.

    Args:
        device: Where they go.

    Attributes:
        device: As given.
    """

    def __init__(self, device: torch.device | str) -> None:
        self.device = device
        self._tensors: list[Tensor] = []
        self._num_sent = 0

    def add(self, tensor: Tensor) -> Callable[[], Tensor]:
        """Put in a tensor of the host, of int32 or float32.

        Returns:
            A function that returns the tensor on the device. Its first call sends all that is in the parcel;
            what is put in afterwards goes in another copy.
        """
        place = len(self._tensors)
        self._tensors.append(tensor)

        def on_device() -> Tensor:
            if place >= self._num_sent:
                self._send()
            return self._tensors[place]

        return on_device

    def _send(self) -> None:
        import torch
        from torch.nn.functional import pad

        waiting = self._tensors[self._num_sent :]
        words = [tensor.contiguous().view(-1).view(torch.int32) for tensor in waiting]
        sent = to_device(torch.cat([pad(part, (0, -len(part) % _ALIGNED)) for part in words]), self.device)
        start = 0
        for place, (tensor, part) in enumerate(zip(waiting, words, strict=True), self._num_sent):
            there = sent[start : start + len(part)].view(tensor.dtype).view(tensor.shape)
            self._tensors[place] = there
            start += len(part) + -len(part) % _ALIGNED
        self._num_sent = len(self._tensors)
