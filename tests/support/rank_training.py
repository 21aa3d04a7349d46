"""What ranks do together in the tests of gradients through data-parallel towers."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from support.compare import assert_gradients_close
from support.rank_towers import CLIP, PIXTRAL, QWEN, QWEN3, batches, pair
from vision_composer.encoder import ComposedVisionEncoder

TOWERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "packed": (QWEN, {}),
    "checkpointed": (CLIP, {"training": {"gradient_checkpointing": True}}),
    "checkpointed and frozen": (
        QWEN3,
        {"training": {"gradient_checkpointing": True, "freeze": ["stem", "blocks[:1]"]}},
    ),
    "frozen": (PIXTRAL, {"select_layers": [-1], "training": {"freeze": "blocks[:2]"}}),
}


def training(name: str, how: str) -> None:
    """Gradients are those of one process."""
    encoder, more = TOWERS[name]
    alone, _ = pair(encoder, **more)
    alone.train()
    for batch in batches(encoder["model_type"], alone):
        if not len(batch["pixel_values"]):
            continue
        alone.zero_grad()
        objective(alone(**batch)).backward()
        spread = pair(encoder, **more)[1].train()
        WAYS[how](spread, batch)
        assert_gradients_close(gradients(spread), gradients(alone))


def objective(features: Any) -> Tensor:
    images = list(features)
    return torch.stack([(i + 1) * image.float().square().mean() for i, image in enumerate(images)]).mean()


def gradients(tower: torch.nn.Module) -> dict[str, Tensor]:
    return {
        name: (p.grad.full_tensor() if hasattr(p.grad, "full_tensor") else p.grad).clone()
        for name, p in tower.named_parameters()
        if p.grad is not None
    }


def averaged(tower: ComposedVisionEncoder, batch: dict[str, Tensor]) -> None:
    """By hand; every rank takes part of the loss."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    features = tower(**batch)
    shares = [(i + 1) * image.square().mean() / len(features) for i, image in enumerate(features)]
    mine = shares[rank::ranks] or [0 * features[0].sum()]
    (ranks * torch.stack(mine).sum()).backward()
    for parameter in tower.parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None
            dist.all_reduce(parameter.grad)
            parameter.grad /= ranks


def with_ddp(tower: ComposedVisionEncoder, batch: dict[str, Tensor]) -> None:
    model = DistributedDataParallel(tower)
    for _ in range(2):  # the second forward would fail if the first left a parameter out
        tower.zero_grad()
        objective(model(**batch)).backward()


def with_fsdp(tower: ComposedVisionEncoder, batch: dict[str, Tensor]) -> None:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for block in tower.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(tower, mesh=mesh)
    with torch.no_grad():
        tower(**batch)
    objective(tower(**batch)).backward()


WAYS = {"by hand": averaged, "ddp": with_ddp, "fsdp": with_fsdp}
