"""Copies to a device for which the host does not wait."""

from __future__ import annotations

import torch
from support.stand_in import DEVICE, StandIn

from vision_composer.attention.sending import to_device


def test_the_host_does_not_wait_for_a_copy() -> None:
    device, table = StandIn(), torch.arange(6).view(2, 3)
    with device:
        there = to_device(table, DEVICE)
        assert to_device(there, DEVICE) is there
        assert not device.waits
    assert device.holds(there)
    assert not device.holds(table)
    assert torch.equal(there, table)


def test_nothing_is_copied_where_it_is() -> None:
    table = torch.arange(6)
    assert to_device(table, "cpu") is table
    assert to_device(table, "meta").device.type == "meta"
