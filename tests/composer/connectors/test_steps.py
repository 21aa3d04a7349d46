"""Connectors composed of steps: they say those of VLMs exactly, and count what they make before they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import pytest
import torch
from support import tiny
from support.compare import OP_ULPS, assert_close
from support.images import noise_image
from support.vlms.parts import CLIP, SIGLIP
from torch import Tensor

from vision_composer import compose, plan
from vision_composer.connectors import AnyConnector, ImageOfTiles
from vision_composer.encoders import FAMILIES
from vision_composer.errors import ConfigError, InputError
from vision_composer.images.tiling import TilePlan
from vision_composer.schemas import ENCODER_CONFIGS

WIDTH = 40
PIXTRAL = tiny.PACKED["pixtral"]
LAYER: dict[str, Any] = {"select_layers": [-2], "post_norm": "none", "feature_select_strategy": "default"}


def linear(width: int = WIDTH, *, bias: bool = True) -> dict[str, Any]:
    return {"type": "linear", "width": width, "bias": bias}


GELU = {"type": "act"}
SHUFFLE = {"type": "space_to_depth"}
TWO_LAYERS = [linear(), GELU, linear()]


@dataclass(frozen=True)
class Said:
    """A VLM's connector, and the same in steps: ``names`` are its tensors in the order of the steps'."""

    encoder: dict[str, Any]
    connector: dict[str, Any]
    steps: list[dict[str, Any]]
    names: tuple[str, ...]
    transposed: str = ""
    layers: tuple[int, ...] = (-2,)


def weights(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}.{kind}" for name in names for kind in ("weight", "bias"))


SAID = {
    "llava": Said(CLIP, {"type": "llava"}, TWO_LAYERS, weights("linear_1", "linear_2")),
    "vipllava": Said(
        CLIP,
        {"type": "vipllava"},
        [{"type": "norm"}, *TWO_LAYERS],
        weights("projector_layernorm", "linear_1", "linear_2"),
        layers=(-2, -4, 1),
    ),
    "gemma3": Said(
        SIGLIP,
        {"type": "gemma3", "mm_tokens_per_image": 4},
        [
            {"type": "avg_pool", "kernel": 2},
            {"type": "norm", "kind": "rms1p", "eps": 1e-6},
            linear(bias=False),
        ],
        ("mm_soft_emb_norm.weight", "mm_input_projection_weight"),
        transposed="mm_input_projection_weight",
    ),
    "internvl": Said(
        CLIP,
        {"type": "internvl"},
        [SHUFFLE, {"type": "norm"}, *TWO_LAYERS],
        weights("layer_norm", "linear_1", "linear_2"),
    ),
    "mistral3": Said(
        PIXTRAL,
        {"type": "mistral3"},
        [
            {"type": "norm", "kind": "rms"},
            SHUFFLE | {"order": "chw"},
            linear(PIXTRAL["hidden_size"], bias=False),
            linear(bias=False),
            GELU,
            linear(bias=False),
        ],
        ("norm.weight", "patch_merger.merging_layer.weight", "linear_1.weight", "linear_2.weight"),
    ),
    "cohere2_vision": Said(
        SIGLIP,
        {"type": "cohere2_vision", "intermediate_size": 24},
        [SHUFFLE, {"type": "swiglu", "width": 12}, linear()],
        weights("linear_1", "linear_2"),
    ),
}


def connector_of(encoder: dict[str, Any], block: dict[str, Any], **keys: Any) -> AnyConnector:
    planned = plan(
        {
            "schema": 1,
            "encoder": encoder,
            "connector": {"hidden_size": WIDTH, **block},
            "output": "embeds",
            **LAYER,
            **keys,
        }
    )
    assert planned.connector is not None
    return planned.connector


def steps_of(steps: list[dict[str, Any]], encoder: dict[str, Any] = CLIP, **keys: Any) -> AnyConnector:
    return connector_of(encoder, {"type": "steps", "steps": steps}, **keys)


def images_of(*grids: tuple[int, int, int]) -> list[ImageOfTiles]:
    return [ImageOfTiles(TilePlan(), grid) for grid in grids]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", SAID)
def test_steps_say_the_connectors_of_vlms(name: str, dtype: torch.dtype) -> None:
    said = SAID[name]
    theirs = connector_of(said.encoder, said.connector, select_layers=[*said.layers])
    ours = steps_of(said.steps, said.encoder, select_layers=[*said.layers])
    their_module = tiny.scramble(theirs.build().to(dtype))
    tensors = {key.partition(".")[2]: tensor for key, tensor in their_module.state_dict().items()}
    assert sorted(tensors) == sorted(said.names)
    module = ours.build().to(dtype)
    given = (tensors[key].T if key == said.transposed else tensors[key] for key in said.names)
    module.load_state_dict(dict(zip(module.state_dict(), given, strict=True)))
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, ours.tower.width, generator=generator).to(dtype)

    packed = said.encoder is PIXTRAL
    grids = [(1, 4, 6), (1, 2, 2), (1, 2, 2), (1, 8, 4)] if packed else [(1, 4, 4)] * 3
    features = tuple(noise(rows * columns) for _, rows, columns in grids) if packed else noise(3, 16)
    images = images_of(*grids)
    with torch.no_grad():
        got, want = ours.run(module, features, images), theirs.run(their_module, features, images)
    assert_close(got, want, ulps=OP_ULPS if dtype is torch.float32 else None)
    assert [len(rows) for rows in got] == [ours.num_rows(image) for image in images]
    assert [ours.num_rows(image) for image in images] == [theirs.num_rows(image) for image in images]
    assert ours.flops(images[0]) > 0


@pytest.mark.parametrize(
    "steps",
    [[{"type": "norm", "kind": kind}, linear()] for kind in ("layer", "rms", "rms1p")]
    + [[SHUFFLE, {"type": "swiglu", "width": 8, "bias": False}, linear()], TWO_LAYERS],
)
def test_its_tensors_are_planned(steps: list[dict[str, Any]]) -> None:
    connector = steps_of(steps)
    built = {name: tuple(tensor.shape) for name, tensor in connector.build().state_dict().items()}
    assert connector.shapes() == built


def test_operations_are_counted_behind_each_step() -> None:
    connector = steps_of([linear(8), SHUFFLE, {"type": "swiglu", "width": 12}, linear()])
    (image,) = images_of((1, 4, 4))
    assert connector.flops(image) == 2 * 16 * 32 * 8 + 2 * 4 * (32 * 24 + 12 * WIDTH)


SIZES = [(width, height) for width in range(64, 170, 8) for height in range(48, width, 8)]


def counted(count: Callable[[int, int], int], width: int, height: int) -> bool:
    """Whether an image of that size has whole squares, at least four of them."""
    try:
        return count(width, height) >= 4
    except InputError:
        return False


PACKED = [
    name for name, family in FAMILIES.items() if family.model_type == name and ENCODER_CONFIGS[name].packed
]


@pytest.mark.parametrize("name", PACKED)
def test_squares_are_neighbours_in_the_image(name: str) -> None:
    """A patch that differs changes the square that it is in, and there the features of its place."""
    torch.manual_seed(0)
    fields = tiny.encoder_of(name)
    fields |= {"image_size": 48} if "image_size" in fields else {}
    keys = {"schema": 1, "encoder": fields, "select_layers": [0]}
    if plan(keys).processor.processor_class.keys >= {"min_pixels", "max_pixels"}:
        keys["image_processor"] = {"min_pixels": 256, "max_pixels": 1 << 20}
    width = 4 * plan(keys).output_width
    block = {"type": "steps", "hidden_size": width, "steps": [SHUFFLE]}
    encoder = compose({**keys, "connector": block, "output": "embeds"})
    image = noise_image(*next(size for size in SIZES if counted(encoder.num_tokens, *size)))
    (before,) = encoder.encode(image)
    _, rows, columns = encoder.image_grids(encoder.preprocess([image]))[0]
    row, column = rows // 2 + 1, columns // 2 - 1
    box = [column / columns, row / rows, (column + 1) / columns, (row + 1) / rows]
    scaled = [round(side * share) for side, share in zip((*image.size, *image.size), box, strict=True)]
    image.paste("white", tuple(scaled))
    (after,) = encoder.encode(image)
    changed = (after - before).abs().unflatten(1, (4, -1)).sum(-1)
    expected = (row // 2 * (columns // 2) + column // 2, row % 2 * 2 + column % 2)
    assert divmod(int(changed.argmax()), 4) == expected


def test_an_encoder_with_a_merger_gives_squares_of_its_own_tokens() -> None:
    keys = {"schema": 1, "encoder": tiny.PACKED["qwen2_5_vl_vision"], "output": "embeds"}
    width = plan({"schema": 1, "encoder": keys["encoder"]}).output_width
    block = {"type": "steps", "hidden_size": 4 * width, "steps": [SHUFFLE]}
    processor = {"min_pixels": 1, "max_pixels": 1 << 20}
    encoder = compose({**keys, "connector": block, "image_processor": processor})
    merged = compose(encoder.config, overrides=["output=features"])
    merged.model.load_state_dict(encoder.model.state_dict())
    (rows,) = encoder.encode(noise_image(128, 64))
    (tokens,) = merged.encode(noise_image(128, 64))
    grid = encoder.image_grids(encoder.preprocess([noise_image(128, 64)]))[0]
    by_row = tokens.view(grid[1] // 2, grid[2] // 2, width)
    assert torch.equal(rows[1], by_row[:2, 2:4].flatten())


@pytest.mark.parametrize(
    ("steps", "keys", "message"),
    [
        (
            [{"type": "linar", "width": 4}],
            {},
            r"steps\[0\].type: unknown step 'linar' \(did you mean 'linear'",
        ),
        ([linear() | {"wdth": 4}], {}, r"steps\[0\].wdth: unknown key \(did you mean 'width'"),
        ([{"type": "linear"}], {}, r"steps\[0\].width: missing key"),
        ([{"type": "norm", "kind": "rms2"}, linear()], {}, r"steps\[0\].kind: expected 'layer', 'rms'"),
        ([linear(8)], {}, r"connector.hidden_size: the last step makes rows of 8 features, and .* reads 40"),
        ([linear(), SHUFFLE], {}, "the last step makes rows of 160 features"),
        ([GELU], {}, "connector.hidden_size: the last step makes rows of 32 features"),
        ([], {}, "connector.steps: expected a list of steps"),
        ([{"width": 4}], {}, r"steps\[0\].type: missing key: which step it is"),
        (["linear"], {}, r"steps\[0\]: expected a mapping with a type"),
        (
            [SHUFFLE | {"factor": 3}, linear()],
            {},
            "connector.steps: 4x4 rows of an image are no whole squares of 3x3, which space_to_depth joins",
        ),
        (
            [SHUFFLE | {"factor": 64}] * 3 + [linear()],
            {},
            r"steps\[1\]: makes rows of 536,870,912 features; the limit",
        ),
        (
            [SHUFFLE, linear()],
            {"feature_select_strategy": "full"},
            "squares of 4x4 patches, but the tower gives 17 tokens; set feature_select_strategy: default",
        ),
    ],
)
def test_steps_that_cannot_work(steps: list[Any], keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        steps_of(steps, **keys)


def test_images_whose_patches_fill_no_squares_are_refused_by_size() -> None:
    keys = {"schema": 1, "encoder": PIXTRAL, "output": "embeds"}
    block = {"type": "steps", "hidden_size": WIDTH, "steps": [SHUFFLE, linear()]}
    planned = plan({**keys, "connector": block})
    side = PIXTRAL["patch_size"]
    assert planned.num_tokens(4 * side, 2 * side) == 2
    with pytest.raises(InputError, match="2x3 rows of an image are no whole squares of 2x2"):
        planned.num_tokens(3 * side, 2 * side)


def test_parameters_are_counted() -> None:
    connector = steps_of(TWO_LAYERS)
    assert sum(prod(shape) for shape in connector.shapes().values()) == 32 * 40 + 40 + 40 * 40 + 40
