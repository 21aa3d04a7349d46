"""Fused towers against each tower alone, its tokens resampled by hand and joined."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support import packed, tiny
from support.compare import assert_close
from support.fused import CLIP, DINO, IMAGES, SIGLIP, TOWERS, aligned, alone, composed, config
from support.images import noise_image
from torch import Tensor

from vision_composer import compose
from vision_composer.errors import ImageError, InputError

SIDES = {"dino": 4, "siglip": 8}
QWEN = {"encoder": tiny.PACKED["qwen2_5_vl_vision"]}
NAVIT = {"encoder": packed.ENCODERS["siglip2_vision_model"]}


def joined(parts: list[Tensor], fuse: str) -> Tensor:
    if fuse == "sum":
        return parts[0] + parts[1]
    return torch.cat(parts, dim={"channel": 2, "sequence": 1}[fuse])


@pytest.mark.parametrize("fuse", ["channel", "sequence", "sum"])
@pytest.mark.parametrize(
    ("mode", "align_corners"),
    [("bilinear", True), ("bilinear", False), ("bicubic", False), ("nearest", False)],
)
def test_tokens_are_those_of_each_tower_resampled_and_joined(
    fuse: str, mode: str, align_corners: bool
) -> None:
    grid = [5, 3]
    align = {"grid": grid, "resample": mode, "align_corners": align_corners}
    encoder = composed(fuse=fuse, align=align)
    parts = [
        aligned(tower(**tower.preprocess(IMAGES)), SIDES[name], grid, mode, align_corners)
        for name, tower in alone(encoder).items()
    ]
    features = encoder(**encoder.preprocess(IMAGES))
    assert features.is_contiguous()
    assert_close(features, joined(parts, fuse))
    assert features.shape[2] == encoder.output_width
    assert features.shape[1] == encoder.num_tokens(7, 9)
    assert_close(torch.stack(encoder.encode(IMAGES)), features)


def test_equal_grids_are_joined_as_they_are() -> None:
    encoder = composed({"dino": DINO, "clip": CLIP})
    parts = [tower(**tower.preprocess(IMAGES)) for tower in alone(encoder).values()]
    features = encoder(**encoder.preprocess(IMAGES))
    assert torch.equal(features, torch.cat(parts, dim=-1))
    assert features.shape == (3, 16, 96)


def test_one_tower_is_resampled_to_the_grid_of_the_other() -> None:
    encoder = composed(align={"grid": [4, 4]}, fuse="sum")
    dino, siglip = (tower(**tower.preprocess(IMAGES)) for tower in alone(encoder).values())
    expected = dino + aligned(siglip, 8, [4, 4], "bilinear", False)
    assert_close(encoder(**encoder.preprocess(IMAGES)), expected)


def test_stacked_pixels_are_the_channels_of_the_towers_one_after_another() -> None:
    towers = {"dino": DINO, "siglip": SIGLIP, "clip": CLIP}
    encoder = composed(towers, input="stacked", align={"grid": [4, 4]})
    inputs = encoder.preprocess(IMAGES)
    pixels = [tower.preprocess(IMAGES)["pixel_values"] for tower in alone(encoder).values()]
    assert list(inputs) == ["pixel_values"]
    assert torch.equal(inputs["pixel_values"], torch.cat(pixels, dim=1))
    per_tower = compose(config(towers, align={"grid": [4, 4]}))
    per_tower.load_state_dict(encoder.state_dict())
    named = dict(zip(("dino_pixel_values", "siglip_pixel_values", "clip_pixel_values"), pixels, strict=True))
    assert torch.equal(encoder(**inputs), per_tower(**named))
    with pytest.raises(InputError, match=r"must be \(images, 9, height, width\)"):
        encoder(pixel_values=pixels[0])


@pytest.mark.parametrize("align_corners", [True, False])
def test_shared_pixels_are_resampled_for_every_tower(align_corners: bool) -> None:
    towers = {
        "dino": DINO,
        "small": {**SIGLIP, "encoder": SIGLIP["encoder"] | {"image_size": 16, "patch_size": 4}},
    }
    shared = {"type": "shared", "align_corners": align_corners}
    processor = {"size": 48, "mean": [0.2, 0.3, 0.4]}
    encoder = composed(towers, input=shared, image_processor=processor)
    (pixels,) = encoder.preprocess(IMAGES).values()
    own = compose({"schema": 1, **DINO, "image_processor": processor})
    assert torch.equal(pixels, own.preprocess(IMAGES)["pixel_values"])
    assert pixels.shape == (3, 3, 48, 48)
    parts = [
        tower(F.interpolate(pixels, size=(side, side), mode="bilinear", align_corners=align_corners))
        for tower, side in zip(alone(encoder).values(), (32, 16), strict=True)
    ]
    assert_close(encoder(pixel_values=pixels), torch.cat(parts, dim=-1))
    assert encoder.num_tokens(40, 50) == 16


def test_projections_stand_behind_the_resampling() -> None:
    project = {"dino": {"width": 24}, "siglip": {"width": 24, "bias": False}}
    encoder = composed(fuse="sum", project=project, align={"grid": [3, 3]})
    parts = [
        encoder.project[name](
            aligned(tower(**tower.preprocess(IMAGES)), SIDES[name], [3, 3], "bilinear", False)
        )
        for name, tower in alone(encoder).items()
    ]
    assert_close(encoder(**encoder.preprocess(IMAGES)), parts[0] + parts[1])
    assert encoder.project["siglip"].bias is None
    assert encoder.output_width == 24


def test_the_connector_reads_the_joined_tokens() -> None:
    steps = [{"type": "space_to_depth"}, {"type": "linear", "width": 40}]
    keys = {"align": {"grid": [4, 6]}, "connector": {"type": "steps", "hidden_size": 40, "steps": steps}}
    encoder = composed(output="embeds", **keys)
    before = compose(config(**keys))
    before.load_state_dict(encoder.state_dict(), strict=False)
    inputs = encoder.preprocess(IMAGES)
    squares = before(**inputs).unflatten(1, (2, 2, 3, 2)).transpose(2, 3).flatten(3).flatten(1, 2)
    rows = encoder(**inputs)
    assert isinstance(rows, tuple)
    assert [len(row) for row in rows] == [6] * 3 == [encoder.num_tokens(5, 5)] * 3
    assert_close(torch.stack(rows), encoder.connector.steps[1](squares.flatten(2)))


@pytest.mark.parametrize("connector", ["llava", "internvl"])
def test_connectors_of_vlms_read_the_joined_tokens(connector: str) -> None:
    keys = {"align": {"grid": [6, 6]}, "connector": {"type": connector, "hidden_size": 40}}
    encoder = composed(output="embeds", **keys)
    before = compose(config(**keys))
    before.load_state_dict(encoder.state_dict(), strict=False)
    inputs = encoder.preprocess(IMAGES)
    read = before(**inputs)
    if connector == "internvl":  # the four tokens of a square side by side
        read = read.unflatten(1, (3, 2, 3, 2)).transpose(2, 3).flatten(3).flatten(1, 2)
    rows = encoder(**inputs)
    assert [len(row) for row in rows] == [encoder.num_tokens(5, 5)] * 3
    assert_close(torch.stack(rows), encoder.connector.multi_modal_projector(read))


def test_towers_in_a_sequence_are_frames_to_the_connector() -> None:
    steps = [{"type": "avg_pool"}, {"type": "linear", "width": 8}]
    keys = {"fuse": "sequence", "connector": {"type": "steps", "hidden_size": 8, "steps": steps}}
    towers = {"dino": DINO, "siglip": {"encoder": tiny.ENCODERS["siglip_vision_model"]}}
    encoder = composed(towers, output="embeds", **keys)
    inputs = encoder.preprocess(IMAGES)
    pooled = [
        F.avg_pool2d(tower(**tower.preprocess(IMAGES)).transpose(1, 2).unflatten(2, (4, 4)), 2).flatten(2)
        for tower in alone(encoder).values()
    ]
    expected = encoder.connector.steps[1](torch.cat(pooled, dim=2).transpose(1, 2))
    assert_close(torch.stack(encoder(**inputs)), expected)


@pytest.mark.parametrize("tower", [NAVIT, QWEN], ids=["patches", "merged"])
def test_images_of_different_sizes_come_out_apart(tower: dict[str, Any]) -> None:
    towers = {"dino": DINO, "navit": tower}
    encoder = composed(towers, align={"grid": [4, 4]})
    features = encoder(**encoder.preprocess(IMAGES))
    dino, navit = alone(encoder).values()
    own = navit(**navit.preprocess(IMAGES))
    assert isinstance(features, tuple)
    for image, tokens, pixels, row in zip(
        IMAGES, own, dino.preprocess(IMAGES)["pixel_values"], features, strict=True
    ):
        _, rows, columns = navit.info.grid(*image.size)
        merge = navit.info.merge_size
        cells = tokens.T.unflatten(1, (rows // merge, columns // merge))[None]
        part = F.interpolate(cells, size=(4, 4), mode="bilinear")[0].flatten(1).T
        assert_close(row, torch.cat([dino(pixels[None])[0], part], dim=-1))
        assert len(row) == encoder.num_tokens(*image.size) == 16


def test_gradients_reach_every_parameter() -> None:
    project = {"dino": {"width": 24}}
    encoder = composed(project=project, align={"grid": [5, 3]}).train()
    features = encoder(**encoder.preprocess(IMAGES))
    (features * torch.randn_like(features)).sum().backward()
    still = [name for name, value in encoder.named_parameters() if value.grad is None or not value.grad.any()]
    unused = compose({"schema": 1, **DINO}).train()
    unused(**unused.preprocess(IMAGES)).square().sum().backward()
    expected = [
        name for name, value in unused.named_parameters() if value.grad is None or not value.grad.any()
    ]
    # A key's bias moves no softmax, in a tower alone as here.
    assert [name for name in still if "k_proj.bias" not in name and "key.bias" not in name] == [
        f"towers.dino.{name.removeprefix('model.')}" for name in expected if "key.bias" not in name
    ]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_resampled_in_float32(dtype: str) -> None:
    encoder = composed(weights={"dtype": dtype}, align={"grid": [5, 3]})
    parts = [
        aligned(tower(**tower.preprocess(IMAGES)).float(), SIDES[name], [5, 3], "bilinear", False)
        for name, tower in alone(encoder).items()
    ]
    features = encoder(**encoder.preprocess(IMAGES))
    assert features.dtype == encoder.dtype == getattr(torch, dtype)
    assert torch.equal(features, torch.cat(parts, dim=-1).to(features.dtype))


def test_no_images_give_no_features() -> None:
    for fuse, tokens in (("channel", 15), ("sequence", 30)):
        encoder = composed(fuse=fuse, align={"grid": [5, 3]})
        none = {name: values[:0] for name, values in encoder.preprocess(IMAGES).items()}
        assert encoder(**none).shape == (0, tokens, encoder.output_width)
        assert encoder.num_tokens(4, 4) == tokens


def test_inputs_are_refused_by_name() -> None:
    encoder = composed(align={"grid": [4, 4]})
    inputs = encoder.preprocess(IMAGES)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"pixel_values": inputs["dino_pixel_values"]}, "unexpected input pixel_values.*dino_ or siglip_"),
        ({"dino_pixel_values": inputs["dino_pixel_values"]}, "tower siglip: .*pixel_values"),
        (
            {**inputs, "siglip_pixel_values": inputs["siglip_pixel_values"][:, :, :5]},
            "tower siglip: .*32x32 only",
        ),
        ({**inputs, "siglip_pixel_values": inputs["siglip_pixel_values"][:2]}, "dino 3, siglip 2"),
        ({**inputs, "siglip_more": inputs["siglip_pixel_values"]}, "tower siglip: unexpected input more"),
    ]
    for given, message in wrong:
        with pytest.raises(InputError, match=message):
            encoder(**given)


def test_grids_that_differ_for_one_image_are_refused_before_a_tower_runs() -> None:
    encoder = composed(
        {"dino": {**DINO, "image_processor": {"size": 32}}, "siglip": SIGLIP}, align={"grid": [4, 4]}
    )
    odd = torch.zeros(1, 3, 40, 32)
    assert encoder(dino_pixel_values=odd, siglip_pixel_values=torch.zeros(1, 3, 32, 32)).shape[1] == 16
    plain = composed({"dino": DINO, "clip": CLIP})
    with pytest.raises(
        InputError, match="tower clip: its tokens form a grid of 4x4, and those of dino a grid of 5x4"
    ):
        plain(dino_pixel_values=odd, clip_pixel_values=torch.zeros(1, 3, 32, 32))


def test_an_image_that_one_tower_refuses_names_the_tower() -> None:
    encoder = composed({"dino": DINO, "qwen": QWEN}, align={"grid": [4, 4]})
    thin = noise_image(3000, 1)
    with pytest.raises(ImageError, match="image 1: tower qwen: "):
        encoder.encode([IMAGES[0], thin])
    good, bad = encoder.encode([IMAGES[0], thin], errors="return")
    assert good.shape == (16, encoder.output_width)
    assert isinstance(bad, ImageError)
    with pytest.raises(ImageError, match=r"^nowhere\.png: (?!tower)"):
        encoder.encode(["nowhere.png"])


def test_towers_named_alike_at_the_start_are_told_apart() -> None:
    encoder = composed({"a": DINO, "ab": SIGLIP, "abc": TOWERS["dino"]}, align={"grid": [2, 2]})
    assert encoder(**encoder.preprocess(IMAGES)).shape == (3, 4, 96)


def test_a_rank_without_images_runs_one_whose_tokens_can_be_joined() -> None:
    pixtral = {"encoder": tiny.PACKED["pixtral"] | {"image_size": 32}}
    vision = composed({"dino": DINO, "pixtral": pixtral}, fuse="channel").vision
    (rows,) = vision(vision.blank())
    assert rows.shape == (16, 64)
