"""Where a connector says that its rows stand, against which rows change when one token of the tower does."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
import torch
from support import tiny

from vision_composer import Plan, plan
from vision_composer.connectors import CONNECTORS, AnyConnector, ImageOfTiles
from vision_composer.connectors.base import TileConnector
from vision_composer.encoders import FAMILIES, Grid
from vision_composer.errors import VisionComposerError
from vision_composer.images.tiling import TilePlan

PLANAR = {
    "aya_vision", "cohere2_vision", "cosmos3_edge", "deepseek_vl", "ernie4_5_vl_moe", "gemma4",
    "granite_docling", "hyperclovax_vision_v2", "idefics3", "internvl", "janus", "kimi_k25", "lfm3_vl",
    "llama4", "llava", "minimax_m3_vl", "mistral3", "muse_glimmer", "ovis2", "paddleocr_vl", "paligemma",
    "steps", "video_llama_3", "vipllava",
}  # fmt: skip
OWN: dict[str, dict[str, Any]] = {
    "steps": {"steps": [{"type": "space_to_depth"}, {"type": "linear", "width": 24}, {"type": "avg_pool"}]},
}


def behind_its_tower(kind: str) -> Plan:
    vlms = CONNECTORS[kind].read_by
    model_type = next(
        (family.model_type for family in FAMILIES.values() if set(family.read_by) & set(vlms)),
        "clip_vision_model",
    )
    keys: dict[str, Any] = {
        "schema": 1,
        "encoder": tiny.encoder_of(model_type),
        "feature_select_strategy": "default",
        "output": "embeds",
        "connector": {"type": kind, "hidden_size": 24, **OWN.get(kind, {})},
    }
    try:
        made = plan(keys)
    except VisionComposerError:
        made = plan({**keys, "select_layers": [-1]})
    assert isinstance(made, Plan)
    return made


def rows_of(
    connector: AnyConnector, module: torch.nn.Module, tokens: torch.Tensor, grid: Grid
) -> torch.Tensor:
    image = ImageOfTiles(TilePlan(), grid)
    ragged = connector.tower.info.ragged
    with torch.no_grad():
        (rows,) = connector.run(module, (tokens,) if ragged else tokens[None], [image])
    assert len(rows) == connector.num_rows(image)
    return rows


@pytest.mark.parametrize("kind", sorted(PLANAR))
def test_a_token_changes_the_row_in_its_place(kind: str) -> None:
    made = behind_its_tower(kind)
    connector, info = made.connector, made.info
    assert connector is not None
    assert connector.planar
    torch.manual_seed(0)
    module = connector.build().eval()
    side = info.grid_multiple * 4
    longer = side if isinstance(connector, TileConnector) else side + 2 * info.grid_multiple
    grid = (1, side, longer) if info.packed else info.grid(64, 64)
    frames, rows, columns = connector.tower.token_grid(grid)
    squares = info.patch_square if not made.readout.planar else 1
    if squares > 1:
        frames, rows, columns = grid
    found = connector.row_grid(grid)
    assert found is not None
    down, across = rows // found[1], columns // found[2]
    tokens = torch.randn(frames * rows * columns, connector.tower.width)
    before = rows_of(connector, module, tokens, grid)
    assert prod(found) == len(before)
    if info.packed and not isinstance(connector, TileConnector):
        clip = (4, *grid[1:])
        assert prod(connector.row_grid(clip) or ()) == connector.num_rows(ImageOfTiles(TilePlan(), clip))
    for row, column in ((0, columns - 1), (1, 0), (rows - 1, columns // 2), (rows // 2, 1)):
        index = row * columns + column
        if squares > 1:  # row by row inside each square
            square = row // squares * (columns // squares) + column // squares
            index = square * squares**2 + row % squares * squares + column % squares
        changed = tokens.clone()
        changed[index] += 3
        after = rows_of(connector, module, changed, grid)
        places = (after - before).abs().amax(dim=-1).nonzero().flatten().tolist()
        assert places == [row // down * found[2] + column // across]


def test_no_other_connector_says_so() -> None:
    others = {}
    for kind in CONNECTORS.keys() - PLANAR:
        try:
            connector = behind_its_tower(kind).connector
        except VisionComposerError:
            continue
        assert connector is not None
        others[kind] = connector.planar
    assert not any(others.values()), others
