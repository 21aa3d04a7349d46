"""Copies to a device for which the host does not wait."""

from __future__ import annotations

import torch
from support.stand_in import DEVICE, StandIn

from vision_composer.attention.sending import Parcel, to_device


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


def test_a_parcel_goes_in_one_copy_and_comes_as_it_was() -> None:
    device, parcel = StandIn(), Parcel(DEVICE)
    tensors = [torch.arange(3, dtype=torch.int32), torch.rand(5, 2), torch.zeros(0), torch.ones(1, 7).int()]
    there = [parcel.add(tensor) for tensor in tensors]
    with device:
        arrived = [tensor() for tensor in there]
        late = parcel.add(tensors[1])()
        assert not device.waits
    assert all(map(device.holds, arrived))
    assert len({tensor.untyped_storage().data_ptr() for tensor in arrived}) == 1
    assert torch.equal(late, tensors[1])
    assert late.untyped_storage().data_ptr() != arrived[0].untyped_storage().data_ptr()
    for tensor, sent in zip(tensors, arrived, strict=True):
        assert sent.dtype == tensor.dtype
        assert torch.equal(sent, tensor)
        assert sent.storage_offset() % 16 == 0
