"""The device of a rank."""

from __future__ import annotations

import os

import torch


def device_of_rank(device: torch.device | str | None) -> torch.device | str | None:
    """Return the device of this rank, which becomes the current one: the accelerator numbered LOCAL_RANK.

    ``device`` itself is returned where it says more than the kind of accelerator, where there is no
    accelerator, where the launcher set no LOCAL_RANK, and where the program has chosen a device of its own.

    Args:
        device: What the caller asked for; None for torch's default device.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    local_rank = os.environ.get("LOCAL_RANK", "")
    if accelerator is None or not local_rank.isdecimal():
        return device
    wanted = torch.get_default_device() if device is None else device
    is_open = str(wanted) == accelerator.type
    if device is None:
        is_open = str(wanted) in ("cpu", accelerator.type, f"{accelerator.type}:0")
    if not is_open:
        return device
    index = torch.accelerator.current_device_index()
    if not index and torch.accelerator.device_count() > 1:  # a process that sees one device has no choice
        index = int(local_rank)
        if index < torch.accelerator.device_count():  # otherwise composing says that it is not there
            torch.accelerator.set_device_index(index)
    return torch.device(accelerator.type, index)
