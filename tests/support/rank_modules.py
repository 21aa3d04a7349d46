"""What every rank does in the tests of data-parallel runs of plain modules."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from support.compare import assert_close, assert_gradients_close
from support.rank_towers import poisoned_memory
from vision_composer import run_dp_sharded_mrope_vision_model, run_dp_sharded_vision_model
from vision_composer.errors import DistributedError, InputError

GRIDS = [
    [],
    [[1, 2, 4]],
    [[1, 3, 3], [1, 3, 3], [1, 3, 3]],
    [[4, 2, 2], [1, 6, 4], [1, 3, 3], [2, 5, 3], [1, 1, 1], [1, 6, 4], [3, 1, 7], [1, 3, 3]],
]


class Dense(nn.Module):
    """(images, 3, 4, 4) -> (images, 16, 5), in one of the forms that towers return."""

    def __init__(self, form: str = "tensor", dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.form, self.dtype, self.project = form, dtype, nn.Linear(3, 5)

    def forward(self, images: Tensor) -> Any:
        features = torch.tanh(self.project(images.flatten(2).transpose(1, 2))).to(self.dtype)
        if self.form == "tensor":
            return features
        if self.form == "output":
            return BaseModelOutputWithPooling(last_hidden_state=features, pooler_output=features[:, 0])
        if self.form == "tuple":
            return features, features[:, 0]
        return list(features)


class Packed(nn.Module):
    """Patches (patches, 3) -> rows of some images, by one of the rules that towers have."""

    def __init__(self, rule: str = "all", form: str = "tensor", dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rule, self.form, self.dtype, self.project = rule, form, dtype, nn.Linear(3, 5)

    def forward(self, patches: Tensor, grids: Any) -> Any:
        grids = grids.tolist() if isinstance(grids, Tensor) else grids
        features = torch.tanh(self.project(patches)).to(self.dtype)
        images = [
            self.rows(image, *grid)
            for image, grid in zip(features.split([prod(grid) for grid in grids]), grids, strict=True)
        ]
        if self.form in ("list", "tuple"):
            return images if self.form == "list" else tuple(images)
        rows = torch.cat(images)
        if self.form == "output":
            return BaseModelOutputWithPooling(last_hidden_state=features, pooler_output=rows)
        return rows

    def rows(self, image: Tensor, frames: int, height: int, width: int) -> Tensor:
        if self.rule == "ceil":  # merges four patches, and what is left over
            return torch.stack([part.sum(0) for part in image.split(4)])
        if self.rule == "time":  # pools over frames
            return image.view(frames, height * width, -1).mean(0)
        if self.rule == "kernel":  # a token of several vectors
            return torch.stack([image, 2 * image], dim=1)
        return image


def dense() -> None:
    for images in (0, 1, 2, 5, 9):
        batch = torch.randn(images, 3, 4, 4, generator=torch.Generator().manual_seed(images))
        for form in ("tensor", "output", "tuple", "list"):
            if form == "list" and not images:
                continue  # an empty list does not say how wide it is
            for dtype in (torch.float32, torch.bfloat16):
                with torch.no_grad():
                    got = run_dp_sharded_vision_model(batch, Dense(form, dtype))
                    assert_close(got, Dense(dtype=dtype)(batch))
                assert got.is_contiguous()
                assert got.untyped_storage().nbytes() == got.nbytes


def packed() -> None:
    for grids in GRIDS:
        patches = torch.randn(sum(map(prod, grids)), 3, generator=torch.Generator().manual_seed(1))
        for rule in ("all", "ceil", "time", "kernel"):
            for form in ("tensor", "list", "tuple", "output"):
                dtype = torch.bfloat16 if form == "tuple" else torch.float32
                module = Packed(rule, form, dtype)
                rope = "rope_2d" if rule == "time" else "rope_3d"
                want = Packed(rule, "list", dtype)(patches, grids)
                for _ in range(2):  # once to measure, and once with rows known
                    with torch.no_grad():
                        got = run_dp_sharded_mrope_vision_model(module, patches, grids, rope_type=rope)
                    assert isinstance(got, tuple)
                    assert len(got) == len(grids)
                    for mine, theirs in zip(got, want, strict=True):
                        assert_close(mine, theirs.detach())
                        assert mine.untyped_storage().nbytes() == mine.nbytes


def dense_gradients() -> None:
    for images in (1, 2, 5):
        batch = torch.randn(images, 3, 4, 4, generator=torch.Generator().manual_seed(images))
        weights = torch.randn(images, 16, 5, generator=torch.Generator().manual_seed(7))
        single = Dense()
        (single(batch) * weights).sum().backward()
        module = Dense()
        parallel = DistributedDataParallel(module)
        for _ in range(2):
            module.zero_grad()
            (run_dp_sharded_vision_model(batch, parallel) * weights).sum().backward()
            same_gradients(module, single)


def packed_gradients() -> None:
    for grids in GRIDS[1:]:
        patches = torch.randn(sum(map(prod, grids)), 3, generator=torch.Generator().manual_seed(1))
        single = Packed("ceil", "list")
        loss(single(patches, grids)).backward()
        module = Packed("ceil")
        # Every rank takes a part of the loss: together, as DDP averages, that is the loss.
        rank, ranks = dist.get_rank(), dist.get_world_size()
        rows_of = None if len(grids) > 1 else lambda grid: -(-prod(grid) // 4)
        got = run_dp_sharded_mrope_vision_model(module, patches, grids, rope_type="rope_3d", rows_of=rows_of)
        (ranks * loss(got[rank::ranks], first=rank, step=ranks) + 0 * got[0].sum()).backward()
        for parameter in module.parameters():
            assert parameter.grad is not None
            dist.all_reduce(parameter.grad)
            parameter.grad /= ranks
        same_gradients(module, single)


def loss(images: Any, first: int = 0, step: int = 1) -> Tensor:
    zero = torch.zeros(())
    return sum(((first + i * step + 1) * image.square().mean() for i, image in enumerate(images)), start=zero)


def same_gradients(got: nn.Module, want: nn.Module) -> None:
    assert_gradients_close(*([p.grad for p in module.parameters()] for module in (got, want)))


def groups() -> None:
    """A mesh of one dimension, and a group that leaves the last rank out."""
    batch = torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    module = Dense()
    rank, ranks = dist.get_rank(), dist.get_world_size()
    mesh = init_device_mesh("cpu", (1, ranks), mesh_dim_names=("tp", "dp"))
    assert_close(run_dp_sharded_vision_model(batch, module, process_group=mesh["dp"]), module(batch))
    refused(InputError, "has 2 dimensions", batch, module, mesh)
    if ranks > 2:
        some = dist.new_group(list(range(ranks - 1)))
        if rank < ranks - 1:
            assert_close(run_dp_sharded_vision_model(batch, module, process_group=some), module(batch))
            # torch names some groups by how many a rank has: the next test's ranks must have as many.
            dist.destroy_process_group(some)
        else:
            refused(InputError, "not in the process group", batch, module, some)
    dist.barrier()


def differences() -> None:
    """Batches, outputs and failures that are not the same on all ranks end in an error on all."""
    rank = dist.get_rank()
    batch = torch.zeros(4 if rank == 1 else 3, 3, 4, 4)
    refused(DistributedError, "rank 1 has another batch than rank 0", batch, Dense())
    refused(
        DistributedError, "do not fit together", batch[:3], Dense(dtype=[torch.half, torch.float][rank % 2])
    )
    if rank == 1:
        refused(TypeError, "not callable", batch[:3], Failing())
    else:
        refused(DistributedError, "rank 1: TypeError: .* not callable", batch[:3], Dense())
    batch = torch.zeros(0 if rank == 1 else 3, 3, 4, 4)
    refused(DistributedError, "another batch", batch, Dense())


class Failing(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images()  # type: ignore[operator]


def refused(
    error: type[Exception], message: str, batch: Tensor, module: nn.Module, group: Any = None
) -> None:
    with pytest.raises(error, match=message):
        run_dp_sharded_vision_model(batch, module, process_group=group)


BEHAVIOURS = {
    behaviour.__name__: behaviour
    for behaviour in (dense, dense_gradients, packed, packed_gradients, groups, differences)
}


def run(behaviour: str) -> None:
    """One of the behaviours, on poisoned memory."""
    with poisoned_memory():
        BEHAVIOURS[behaviour]()
