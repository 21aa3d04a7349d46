"""What ranks do together in the tests of several towers that are one encoder."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

from support import packed, tiny
from support.compare import assert_close
from support.fused import DINO, IMAGES, TOWERS, config
from support.images import noise_image
from support.rank_towers import assert_same, poisoned_memory
from vision_composer import compose

STEPS = {"type": "steps", "hidden_size": 8, "steps": [{"type": "norm"}, {"type": "linear", "width": 8}]}
NATIVE = {
    "dino": DINO,
    "navit": {"encoder": packed.ENCODERS["siglip2_vision_model"]},
    "qwen": {"encoder": tiny.PACKED["qwen2_5_vl_vision"]},
}
GRID = {"align": {"grid": [4, 3]}}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "channel": (TOWERS, GRID),
    "sequence": (TOWERS, {"fuse": "sequence"}),
    "stacked": (TOWERS, {**GRID, "input": "stacked", "fuse": "sum"}),
    "shared": (TOWERS, {**GRID, "input": "shared", "image_processor": {"size": 40}}),
    "projected": (
        TOWERS,
        {**GRID, "fuse": "sum", "project": {"dino": {"width": 24}, "siglip": {"width": 24}}},
    ),
    "embeds": (TOWERS, {**GRID, "output": "embeds", "connector": STEPS}),
    "native": (NATIVE, GRID),
    "compiled": (TOWERS, {**GRID, "compile": {"backend": "eager"}}),
}
PICTURES = [*IMAGES, noise_image(90, 64), noise_image(33, 70)]


def pair(name: str, **parallel: Any) -> Any:
    """The same towers for one process, and on all ranks."""
    towers, keys = CASES[name]
    torch.manual_seed(dist.get_rank())  # random weights come from rank 0
    spread = compose(config(towers, parallel={"mode": "data", **parallel}, **keys))
    alone = compose(config(towers, **keys))
    alone.load_state_dict(spread.state_dict())
    tiny.scramble(alone)
    spread.load_state_dict(alone.state_dict())
    return alone, spread


def features(name: str) -> None:
    """Equal features for every number of images, of batches and of images."""
    with poisoned_memory(), torch.no_grad():
        alone, spread = pair(name)
        for some in (PICTURES, PICTURES[:2], PICTURES[:1]):
            batch = alone.preprocess(some)
            assert_same(spread(**batch), alone(**batch))
        none = {key: values[:0] for key, values in alone.preprocess(PICTURES).items()}
        assert len(spread(**none)) == 0
        assert_same(tuple(spread.encode(PICTURES, batch_size=2)), tuple(alone.encode(PICTURES)))
        assert spread.encode([]) == []


def own_images(name: str) -> None:
    """Every rank gives images of its own, one of them none; all get the features of all."""
    with poisoned_memory(), torch.no_grad():
        alone, spread = pair(name, inputs="sharded")
        mine = PICTURES if dist.get_rank() == 0 else []
        assert_same(tuple(spread.encode(mine, batch_size=2)), tuple(alone.encode(PICTURES)))


def cost() -> None:
    """An image costs what it costs in every tower."""
    _, spread = pair("channel")
    grid = spread.image_grids(spread.preprocess(IMAGES[:1]))[0]
    assert spread.parallel.cost(grid) == spread.plan.flops(*IMAGES[0].size)
    _, spread = pair("native")
    (grid,) = spread.image_grids(spread.preprocess(IMAGES[:1]))
    small, large = (spread.parallel.cost(each) for each in (grid, (1, 40, 40)))
    assert small < large


def gradients(name: str) -> None:
    """The gradients of one process, averaged over ranks."""
    alone, spread = pair(name)
    batch = alone.preprocess(PICTURES)
    for encoder in (alone, spread):
        output = torch.stack(tuple(encoder(**batch)))
        weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
        (output * weights).sum().backward()
    own = dict(alone.named_parameters())
    got, expected = [], []
    for key, parameter in spread.named_parameters():
        if own[key].grad is not None:
            # The same objective on every rank: a rank's own images bring it what reaches them on all ranks.
            dist.all_reduce(parameter.grad)
            got.append(parameter.grad.flatten() / dist.get_world_size())
            expected.append(own[key].grad.flatten())
    # At once, on one scale: that of a key's bias is nothing but rounding.
    assert_close(torch.cat(got), torch.cat(expected))
    assert {key.split(".")[1] for key, value in own.items() if value.grad is not None} >= set(CASES[name][0])
