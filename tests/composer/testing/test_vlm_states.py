"""Hidden states of a tower inside a VLM: what is compared, and that a difference is seen where it begins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.vlms import save_vlm
from torch import nn

from vision_composer import compose
from vision_composer.config_json import tower_of_config_json
from vision_composer.encoder import ComposedVisionEncoder
from vision_composer.errors import ConformanceError
from vision_composer.testing import vlm
from vision_composer.testing.vlm_states import TowerStates, _unpadded, modules_like


def both(name: str, folder: Path, *overrides: str) -> tuple[ComposedVisionEncoder, Any, Any]:
    source = save_vlm(name, folder)
    encoder = compose(tower_of_config_json(str(source)), overrides=["output=embeds", *overrides])
    return encoder, *vlm.load_vlm(str(source))


def differences(encoder: ComposedVisionEncoder, model: Any, processor: Any) -> dict[int, float]:
    states = TowerStates(encoder, model)
    image = vlm.random_images()[1]
    with states.watching():
        vlm.embeddings(model, vlm.image_inputs(model, processor, image), encoder.num_tokens(*image.size))
    pairs = states.pairs(encoder.preprocess([image]))
    return {layer: float((ours - theirs).abs().max()) for layer, (ours, theirs) in pairs.items()}


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
def test_a_difference_is_seen_where_it_begins(name: str, tmp_path: Path) -> None:
    layers = "select_layers=[0,1,2,3]" if name == "llava" else "deepstack=none"
    encoder, model, processor = both(name, tmp_path, layers, "connector=null", "output=tiles")
    assert max(differences(encoder, model, processor).values()) < 1e-5
    with torch.no_grad():
        next(encoder.blocks[1].parameters()).add_(1)
    wrong = [
        layer for layer, difference in differences(encoder, model, processor).items() if difference > 1e-3
    ]
    assert wrong == ([2, 3] if name == "llava" else [3])


def num_hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_nothing_is_left_in_the_model(tmp_path: Path) -> None:
    encoder, model, processor = both("llava", tmp_path)
    differences(encoder, model, processor)  # transformers leaves hooks of its own
    before = num_hooks(model)
    differences(encoder, model, processor)
    assert num_hooks(model) == before


def test_padded_tiles_are_cut_to_their_tokens() -> None:
    tiles = torch.arange(18.0).view(3, 6, 1)  # 2 rows of 3 patches, or 6 places of a sequence
    grids = [(1, 2, 3), (1, 1, 2), (1, 2, 2)]
    as_grid = _unpadded([tiles[:2], tiles[2:]], grids, (2, 3))
    assert [tile.flatten().tolist() for tile in as_grid] == [[0, 1, 2, 3, 4, 5], [6, 7], [12, 13, 15, 16]]
    as_sequence = _unpadded([tiles], grids, (7, 7))
    assert [tile.flatten().tolist() for tile in as_sequence][1:] == [[6, 7], [12, 13, 14, 15]]


def test_the_tower_is_the_part_with_its_parameters() -> None:
    own = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    whole = nn.ModuleDict({"text": nn.Sequential(nn.Linear(2, 3)), "vision": nn.ModuleDict({"tower": own})})
    assert modules_like(own, whole) == [own]
    assert len(modules_like(own, nn.ModuleList([own, nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))]))) == 2
    with pytest.raises(ConformanceError, match="ModuleDict has no module with the parameters of Sequential"):
        modules_like(own, nn.ModuleDict({"text": nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))}))


SAME = vlm.ImageComparison(32, 32, pixels=0.0, planned=4, rows=4, expected=4, difference=0.0, states={1: 0.0})


@pytest.mark.parametrize(
    "changed",
    [
        {"pixels": 0.1},
        {"planned": 5},
        {"rows": 5},
        {"expected": 5},
        {"difference": float("nan")},
        {"states": {1: 0.0, 2: 0.1}},
        {"states": {1: float("nan")}},
    ],
    ids=str,
)
def test_every_difference_counts(changed: dict[str, Any]) -> None:
    assert SAME.equal
    assert replace(SAME, pixels=None).equal
    assert not replace(SAME, **changed).equal
