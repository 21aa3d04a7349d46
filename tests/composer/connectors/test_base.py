"""What connectors refuse: a tower whose tokens they cannot read, and images that they cannot run together."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from support import tiny
from support.images import noise_image

from vision_composer import compose, plan
from vision_composer.connectors import ImageOfTiles, TowerOutput, connector_of
from vision_composer.errors import ConfigError, InputError
from vision_composer.images.tiling import TilePlan
from vision_composer.schemas.connectors import CONNECTOR_CONFIGS, connector_config

DEFAULT = {"feature_select_strategy": "default"}


def config(
    encoder: str, connector: str, *, fields: dict[str, Any] | None = None, **keys: Any
) -> dict[str, Any]:
    block = {"type": connector, "hidden_size": 24, **(fields or {})}
    return {"schema": 1, "encoder": tiny.ALL[encoder], "output": "embeds", "connector": block, **keys}


READ_PATCHES = (
    "ernie4_5_vl_moe", "gemma3", "got_ocr2", "hunyuan_vl", "idefics3", "internvl", "lfm2_vl", "mistral3",
    "molmo2", "paddleocr_vl", "phi4_multimodal",
)  # fmt: skip


@pytest.mark.parametrize("connector", READ_PATCHES)
def test_a_class_token_is_no_patch(connector: str) -> None:
    fields = {"mm_tokens_per_image": 4} if connector == "gemma3" else {}
    message = (
        f"connector.type: {connector} reads one token for each patch, and the tower gives 17 for 4x4 "
        "patches; set feature_select_strategy: default"
    )
    with pytest.raises(ConfigError, match=message):
        plan(config("clip_vision_model", connector, fields=fields))
    assert plan(config("clip_vision_model", connector, fields=fields, **DEFAULT)).num_tokens(64, 64)


@pytest.mark.parametrize(
    ("encoder", "connector", "keys", "message"),
    [
        ("qwen2_vl_vision", "internvl", {}, "one token for each patch, .* name select_layers"),
        (
            "qwen2_vl_vision",
            "internvl",
            {"select_layers": [-1]},
            "row by row, and qwen2_vl_vision .* another order",
        ),
        ("mllama_vision_model", "internvl", {"select_layers": [-1], **DEFAULT}, "row by row, and mllama"),
        ("kimi_k25_vision", "cosmos3_edge", {"select_layers": [-1]}, "square by square, and kimi_k25_vision"),
    ],
)
def test_patches_must_come_in_the_order_that_is_read(
    encoder: str, connector: str, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(config(encoder, connector, **keys))


@pytest.mark.parametrize("connector", ["internvl", "idefics3", "gemma3", "got_ocr2"])
def test_images_that_are_not_square_are_not_read_as_squares(connector: str) -> None:
    """2x8 patches are as many as 4x4, and transformers' classes take the root of the number for the side."""
    fields = {"mm_tokens_per_image": 4} if connector == "gemma3" else {}
    encoder = compose(config("dinov2", connector, fields=fields, **DEFAULT))
    patch = encoder.info.patch_size
    with pytest.raises(InputError, match=f"'{connector}' takes square images, not 2x8 patches"):
        encoder(torch.zeros(1, 3, 2 * patch, 8 * patch))
    assert len(encoder(torch.zeros(1, 3, 4 * patch, 4 * patch))[0])


def test_images_of_different_sizes_are_not_stacked() -> None:
    encoder = compose(config("pixtral", "llava"))
    assert [len(rows) for rows in encoder.encode([noise_image(64, 32)] * 2)] == [32, 32]
    with pytest.raises(InputError, match="takes images of one size, and these have 32 to 64 tokens"):
        encoder.encode([noise_image(64, 64), noise_image(64, 32)])


LFM2: dict[str, Any] = {
    "tiling": {"type": "lfm2_vl", "tile_size": 32, "min_tiles": 2, "max_tiles": 4},
    "image_processor": {"type": "Lfm2VlImageProcessor"},
}


def test_tiles_of_different_sizes_are_refused_before_weights_are_read() -> None:
    planned = plan(config("siglip2_vision_model", "llava", **LFM2))
    with pytest.raises(InputError, match="'llava' takes tiles of one size"):
        planned.num_tokens(1500, 900)


def test_steps_take_tiles_of_different_sizes() -> None:
    keys = config("siglip2_vision_model", "steps", **LFM2)
    keys["connector"] = {"type": "steps", "hidden_size": 32, "steps": [{"type": "avg_pool"}]}
    encoder = compose(keys)
    tower = compose(keys, overrides=["output=tiles"])
    tower.model.load_state_dict(encoder.model.state_dict())
    image = noise_image(1500, 900)
    (rows,), (patches,) = encoder.encode(image), tower.encode(image)
    grids = encoder.plan.image_of_tiles(1500, 900).grid_of_each
    assert len(set(grids)) > 1
    tiles = zip(patches.split([height * width for _, height, width in grids]), grids, strict=True)
    pooled = [
        tile.view(height // 2, 2, width // 2, 2, -1).mean((1, 3)).flatten(0, 1)
        for tile, (_, height, width) in tiles
    ]
    torch.testing.assert_close(rows, torch.cat(pooled))
    assert len(rows) == encoder.num_tokens(1500, 900)


def test_patches_that_are_no_whole_squares_are_refused_by_lfm2_vl() -> None:
    encoder = compose(config("pixtral", "lfm2_vl"))
    with pytest.raises(InputError, match="3x2 patches are no whole squares of 2x2"):
        encoder(torch.zeros(1, 3, 24, 16))


@pytest.mark.parametrize("factor", [1, 2])
def test_lfm2_vl_joins_squares_that_fill_every_image(factor: int) -> None:
    keys = config("siglip2_vision_model", "lfm2_vl", fields={"downsample_factor": factor}, **LFM2)
    assert plan(keys).num_tokens(1500, 900)
    for wrong in (3, 4):
        with pytest.raises(
            ConfigError, match=r"connector\.downsample_factor: squares .* multiples of 2 patch"
        ):
            plan(keys, overrides=[f"connector.downsample_factor={wrong}"])


def test_gemma_3_makes_no_more_rows_than_patches() -> None:
    with pytest.raises(ConfigError, match="mm_tokens_per_image: 256 rows are more than the 4x4 patches"):
        plan(config("siglip_vision_model", "gemma3"))


def test_gemma_3_takes_images_of_one_size() -> None:
    encoder = compose(config("dinov2", "gemma3", fields={"mm_tokens_per_image": 4}, **DEFAULT))
    side = 8 * encoder.info.patch_size
    with pytest.raises(InputError, match="'gemma3' takes 4x4 patches, not 8x8"):
        encoder(torch.zeros(1, 3, side, side))


def test_mistral_3_reads_one_hidden_state() -> None:
    with pytest.raises(
        ConfigError, match="select_layers: the connector mistral3 reads one hidden state, not 2"
    ):
        plan(config("pixtral", "mistral3", select_layers=[-1, -2]))


def test_any_res_puts_patches_together() -> None:
    tiling = {"type": "llava_next", "image_grid_pinpoints": [[32, 64], [64, 32]]}
    keys = {"tiling": tiling, "image_processor": {"type": "LlavaNextImageProcessor"}}
    with pytest.raises(ConfigError, match="4x4 patches together, and the tower gives 17 tokens for each"):
        plan(config("clip_vision_model", "llava_next", **keys))


@pytest.mark.parametrize("size", [(5, 4), (4, 5), (5, 5), (4, 4)])
def test_phi_4_fills_up_a_last_row_and_a_last_column(size: tuple[int, int]) -> None:
    encoder = compose(config("dinov2", "phi4_multimodal", **DEFAULT))
    height, width = np.multiply(size, encoder.info.patch_size).tolist()
    (rows,) = encoder(torch.zeros(1, 3, height, width))
    assert [len(rows)] == encoder.vision.rows_of_batch(
        encoder.vision.read({"pixel_values": torch.zeros(1, 3, height, width)})
    )


class Closed:
    """Facts of a tower that nothing may ask for, but the check of what a connector reads."""

    patch_grid_length, grid_multiple, patch_square = 4, 1, 1

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} is asked for")


BEHIND_SEVERAL = [name for name, block in CONNECTOR_CONFIGS.items() if block.behind_several]


@pytest.mark.parametrize("name", [name for name in BEHIND_SEVERAL if name != "steps"])
def test_behind_several_towers_it_asks_none_of_them_for_more_than_tokens(name: str) -> None:
    inner = {"intermediate_size": 32} if "intermediate_size" in CONNECTOR_CONFIGS[name].model_fields else {}
    block = connector_config({"type": name, "hidden_size": 24, **inner})
    closed: Any = Closed()
    connector = connector_of(block, TowerOutput(closed, closed, 48, 1, prod, lambda grid: grid, planar=True))
    module, image = connector.build(), ImageOfTiles(TilePlan(), (1, 4, 4))
    rows = connector.run(module, torch.zeros(2, 16, 48), [image, image])
    assert [tuple(of_image.shape) for of_image in rows] == [(connector.num_rows(image), 24)] * 2
    assert {key: tuple(value.shape) for key, value in module.state_dict().items()} == connector.shapes()
    assert connector.flops(image) > 0
