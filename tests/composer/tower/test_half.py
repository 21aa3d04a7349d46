"""The vision half as a module: what it refuses, returns, saves and trains. Its values are in test_vlms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import tiny
from support.compare import assert_close
from support.vlms.parts import CLIP

from vision_composer import ComposedVisionEncoder, compose, plan
from vision_composer.errors import ConfigError, InputError, WeightsError

PINPOINTS = [[32, 64], [64, 32], [64, 64]]
KEYS: dict[str, Any] = {
    "schema": 1,
    "encoder": CLIP,
    "select_layers": [-2],
    "feature_select_strategy": "default",
    "post_norm": "none",
    "image_processor": {"type": "LlavaNextImageProcessor"},
    "connector": {"type": "llava_next", "hidden_size": 40},
    "tiling": {"type": "llava_next", "image_grid_pinpoints": PINPOINTS},
}
SIZES = ((64, 64), (75, 40), (20, 90))
STEPS: dict[str, Any] = {
    "type": "steps",
    "hidden_size": 40,
    "steps": [
        {"type": "norm", "kind": "rms"},
        {"type": "space_to_depth", "order": "chw"},
        {"type": "swiglu", "width": 24},
        {"type": "avg_pool"},
        {"type": "linear", "width": 40},
        {"type": "act"},
    ],
}
CONNECTORS = [KEYS["connector"], STEPS]
each_connector = pytest.mark.parametrize("connector", CONNECTORS, ids=lambda block: block["type"])


def half(output: str = "embeds", **keys: Any) -> ComposedVisionEncoder:
    torch.manual_seed(0)
    return compose({**KEYS, "output": output, **keys})


def images() -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for width, height in SIZES
    ]


@each_connector
@pytest.mark.parametrize("output", ["features", "tiles", "embeds"])
def test_rows_are_as_many_and_as_wide_as_planned(output: str, connector: dict[str, Any]) -> None:
    encoder = half(output, connector=connector)
    rows = encoder.encode(images())
    assert [tuple(row.shape) for row in rows] == [
        (encoder.num_tokens(*size), encoder.output_width) for size in SIZES
    ]
    assert encoder.plan.num_parameters == sum(p.numel() for p in encoder.parameters())


def test_tiles_are_the_towers_features_of_each_tile() -> None:
    encoder = half("tiles")
    batch = encoder.preprocess(images())
    tower = half("features")
    of_tiles = tower(batch["pixel_values"])
    starts = np.cumsum([0, *(plan_.num_tiles for plan_ in encoder.vision.read(batch).plans)])
    for image, rows in enumerate(encoder(**batch)):
        assert_close(rows, of_tiles[starts[image] : starts[image + 1]].flatten(0, 1))


def test_neither_connector_nor_tiles_are_there_without_being_asked_for() -> None:
    encoder = half("features")
    assert encoder.connector is None
    assert set(encoder.preprocess(images())) == {"pixel_values"}
    assert not any(name.startswith("connector") for name in encoder.state_dict())


@each_connector
def test_an_image_does_not_see_its_neighbours(connector: dict[str, Any]) -> None:
    encoder = half(connector=connector)
    together = encoder(**encoder.preprocess(images()))
    for image, row in zip(images(), together, strict=True):
        (alone,) = encoder(**encoder.preprocess([image]))
        assert_close(alone, row)


def test_a_batch_without_images() -> None:
    encoder = half()
    sizes = torch.empty(0, 2, dtype=torch.int64)
    assert encoder(pixel_values=torch.empty(0, 3, 32, 32), image_sizes=sizes) == ()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (None, r"image_sizes must be the height and width of every image before it was cut.*NoneType"),
        (torch.tensor([64, 64]), r"integer tensor \(images, 2\), not \(2,\)"),
        (torch.tensor([[64.0, 64.0]]), "are torch.float32; they must be integers"),
        (torch.tensor([[64, 0]]), "a side below 1 pixel"),
        (torch.tensor([[64, 64]]), r"hold 3 tiles, but images of the sizes in image_sizes are cut into 5"),
    ],
)
def test_sizes_that_do_not_fit(sizes: torch.Tensor | None, message: str) -> None:
    inputs = {} if sizes is None else {"image_sizes": sizes}
    with pytest.raises(InputError, match=message):
        half()(pixel_values=torch.zeros(3, 3, 32, 32), **inputs)


@each_connector
def test_it_is_saved_with_its_connector(tmp_path: Path, connector: dict[str, Any]) -> None:
    encoder = half(connector=connector)
    encoder.save(tmp_path)
    again = compose(tmp_path)
    assert again.config.output == "embeds"
    for row, same in zip(encoder.encode(images()), again.encode(images()), strict=True):
        assert torch.equal(row, same)
    assert compose(tmp_path, overrides=["output=features"]).connector is None


def test_a_tower_saved_alone_names_where_its_connector_was(tmp_path: Path) -> None:
    half().save(tmp_path / "whole")
    compose(tmp_path / "whole", overrides=["output=features"]).save(tmp_path / "tower")
    again = compose(tmp_path / "tower", overrides=["output=embeds"])
    for row, same in zip(half().encode(images()), again.encode(images()), strict=True):
        assert torch.equal(row, same)


def test_a_new_connector_behind_a_tower_that_has_weights(tmp_path: Path) -> None:
    half("features").save(tmp_path / "tower")
    message = (
        "connector 'steps' needs steps.0.weight, and no tensor is named so; .* null that they are random"
    )
    new = [f"connector={json.dumps(STEPS)}", "output=embeds"]
    with pytest.raises(WeightsError, match=message):
        compose(tmp_path / "tower", overrides=new)
    encoder = compose(tmp_path / "tower", overrides=[*new, "connector.weights={source: null}"])
    assert encoder.plan.to_dict()["connector_weights"] is None
    encoder.save(tmp_path / "whole")
    saved = tmp_path / "whole" / "connector.safetensors"
    again = compose(tmp_path / "tower", overrides=[*new, f"connector.weights={{source: {saved}}}"])
    for row, same in zip(encoder.encode(images()), again.encode(images()), strict=True):
        assert torch.equal(row, same)


def test_a_checkpoint_without_the_connector(tmp_path: Path) -> None:
    half("features").save(tmp_path)
    message = "the connector 'llava_next' needs image_newline, and no tensor is named so"
    with pytest.raises(WeightsError, match=message):
        compose(tmp_path, overrides=["output=embeds"])


@each_connector
def test_every_parameter_of_it_trains(connector: dict[str, Any]) -> None:
    encoder = half(connector=connector)
    encoder.train()
    sum(row.square().mean() for row in encoder(**encoder.preprocess(images()))).backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    frozen = half(training={"freeze": "all"}, connector=connector)
    trained = {name.partition(".")[0] for name, p in frozen.named_parameters() if p.requires_grad}
    assert trained == {"connector"}


@each_connector
def test_it_changes_dtype_and_is_compiled(connector: dict[str, Any]) -> None:
    encoder = half(weights={"dtype": "bfloat16"}, connector=connector)
    assert all(row.dtype == torch.bfloat16 for row in encoder.encode(images()))
    compiled = half(compile={"backend": "aot_eager"}, connector=connector)
    assert all(part._compiled_call_impl is not None for part in compiled.connector.children())
    plain = half(connector=connector)
    for row, same in zip(plain.encode(images()), compiled.encode(images()), strict=True):
        assert_close(same, row)


def test_operations_count_every_tile_and_the_connector() -> None:
    whole, all_of_it = plan(KEYS), plan({**KEYS, "output": "embeds"})
    one = whole.flops(32, 32)
    assert one is not None
    connector = 2 * (32 * 40 + 40 * 40) * 16
    assert all_of_it.flops(64, 64) == 5 * (one + connector)
    assert all_of_it.num_tokens(64, 64) == 16 + 8 * 9


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"connector": None}, "reaches a language model through a connector, and this config has none"),
        (
            {"connector": {"type": "lava", "hidden_size": 4}},
            r"unknown connector 'lava' \(did you mean 'llava'",
        ),
        ({"connector": {"type": "llava"}}, "hidden_size"),
        ({"connector": {"type": "llava", "hidden_size": 4, "activation": "gelu"}}, "unknown key"),
        ({"tiling": {"type": "llava_nxt"}}, r"unknown tiling 'llava_nxt' \(did you mean 'llava_next'"),
        ({"tiling": {"type": "llava_next", "pinpoints": []}}, "unknown key"),
        ({"output": "embedding"}, "embeds"),
    ],
)
def test_configs_that_say_no_half(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan({**KEYS, "output": "embeds", **keys})


@pytest.mark.parametrize(
    ("encoder", "connector"),
    [
        ("pixtral", {"type": "mistral3"}),
        ("pixtral", {"type": "lfm2_vl", "downsample_factor": 3}),
        ("idefics3_vision", {"type": "idefics3", "scale_factor": 2}),
        ("idefics3_vision", {"type": "aria", "patch_to_query": [[9, 4], [36, 8]]}),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else value,
)
def test_a_rank_without_images_runs_one_that_the_connector_takes(
    encoder: str, connector: dict[str, Any]
) -> None:
    keys = {"schema": 1, "encoder": tiny.ALL[encoder], "output": "embeds"}
    vision = compose({**keys, "connector": {"hidden_size": 24, **connector}}).vision
    blank = vision.blank()
    assert [len(rows) for rows in vision(blank)] == vision.rows_of_batch(blank)
