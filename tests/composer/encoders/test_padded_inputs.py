"""What the padded families take and refuse, the sizes that images get for them, and the images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support import tiny
from support.compare import assert_close
from support.padded import SHAPES, batch_of, reference
from transformers.image_utils import SizeDict
from transformers.models.gemma4.image_processing_pil_gemma4 import get_aspect_ratio_preserving_size
from transformers.models.idefics2.image_processing_pil_idefics2 import get_resize_output_image_size
from transformers.models.siglip2.image_processing_pil_siglip2 import get_image_size_for_max_num_patches

from vision_composer import compose, plan
from vision_composer.errors import ConfigError, ImageError, InputError, WeightsError
from vision_composer.images.resize import EdgeBounds, PatchBudget, TokenBudget

NAMES = list(tiny.PADDED)
each_family = pytest.mark.parametrize("name", NAMES)


def tower(name: str, **keys: Any) -> Any:
    return compose({"schema": 1, "encoder": tiny.PADDED[name], **keys})


def run(encoder: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        return encoder(**batch)


# --- sizes --------------------------------------------------------------------------------------------


@given(st.integers(1, 20000), st.integers(1, 20000))
@settings(max_examples=300, deadline=None)
def test_sizes_are_those_of_transformers_processors(width: int, height: int) -> None:
    for patch, most in ((16, 256), (14, 729), (16, 1024), (3, 7)):
        rows, columns = get_image_size_for_max_num_patches(height, width, patch, most)
        assert PatchBudget(patch, most)(width, height) == (columns, rows)
    for patch, tokens, pooled in ((16, 280, 3), (16, 70, 3), (14, 1120, 2)):
        size = get_aspect_ratio_preserving_size(height, width, patch, tokens * pooled**2, pooled)
        assert TokenBudget(patch * pooled, tokens)(width, height) == size[::-1]
    image = np.broadcast_to(np.zeros(1, np.uint8), (3, height, width))
    for shortest, longest in ((378, 980), (14, 700), (500, 400), (3, 40)):
        size = get_resize_output_image_size(image, SizeDict(shortest_edge=shortest, longest_edge=longest))
        if min(size) < 14:
            with pytest.raises(InputError, match="smaller than one patch"):
                EdgeBounds(shortest, longest, 14)(width, height)
        else:
            assert EdgeBounds(shortest, longest, 14)(width, height) == size[::-1]


# --- images -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values", "size"),
    [
        ("siglip2_vision_model", {"max_num_patches": 9, "patch_size": 99, "do_resize": False}, (24, 24)),
        ("gemma4_vision", {"max_soft_tokens": 70, "pooling_kernel_size": 7}, (32, 32)),
        ("idefics2_vision", {"size": {"shortest_edge": 20, "longest_edge": 60}, "do_pad": False}, (60, 60)),
        ("idefics2_vision", {"size": {"height": 24, "width": 50}, "do_image_splitting": True}, (50, 24)),
        ("smolvlm_vision", {"max_image_size": {"longest_edge": 50}, "size": {"longest_edge": 77}}, (50, 50)),
        ("idefics3_vision", {"max_image_size": {"longest_edge": 48}, "return_row_col_info": True}, (48, 48)),
    ],
)
def test_a_checkpoints_own_resize_rule_is_used(
    name: str, values: dict[str, Any], size: tuple[int, int], tmp_path: Path
) -> None:
    tiny.save(reference(name), tmp_path / "tower")
    (tmp_path / "tower" / "preprocessor_config.json").write_text(json.dumps(values))
    encoder = tower(name, weights={"source": str(tmp_path / "tower")})
    assert encoder.info.resize(500, 500) == size
    assert len(encoder.encode(Image.new("RGB", (500, 500)))[0]) == encoder.plan.num_tokens(500, 500)
    encoder.save(tmp_path / "saved")
    assert compose(tmp_path / "saved").info == encoder.info


def test_processors_that_cannot_work_are_refused(tmp_path: Path) -> None:
    for name, values in (
        ("gemma4_vision", {"max_soft_tokens": 99}),
        ("idefics3_vision", {"max_image_size": {"longest_edge": 4}}),
        ("siglip2_vision_model", {"max_num_patches": "many"}),
    ):
        tiny.save(reference(name), tmp_path / name)
        (tmp_path / name / "preprocessor_config.json").write_text(json.dumps(values))
        with pytest.raises(WeightsError, match=r"preprocessor_config\.json"):
            tower(name, weights={"source": str(tmp_path / name)})


def test_an_image_too_thin_for_a_patch_is_named(tmp_path: Path) -> None:
    tiny.save(reference("idefics2_vision"), tmp_path)
    size = {"shortest_edge": 1, "longest_edge": 40}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": size}))
    encoder = tower("idefics2_vision", weights={"source": str(tmp_path)})
    with pytest.raises(ImageError, match=r"image 0.*smaller than one patch"):
        encoder.encode(Image.new("RGB", (400, 3)))
    with pytest.raises(InputError, match="smaller than one patch"):
        encoder.plan.num_tokens(400, 3)


# --- inputs -------------------------------------------------------------------------------------------


def changed(name: str, **changes: Any) -> dict[str, Any]:
    """A good batch with some of its inputs replaced: a function is given the old, None takes one away."""
    batch: dict[str, Any] = batch_of(name, [(2, 3), (1, 2)], padding=0.0)
    for key, change in changes.items():
        batch[key] = change(batch[key].clone()) if callable(change) else change
    return {key: value for key, value in batch.items() if value is not None}


def at(*index: Any, value: Any) -> Any:
    """A change of one place."""

    def change(tensor: torch.Tensor) -> torch.Tensor:
        tensor[index] = value
        return tensor

    return change


SIGLIP2, IDEFICS2, IDEFICS3, GEMMA4 = (
    "siglip2_vision_model",
    "idefics2_vision",
    "idefics3_vision",
    "gemma4_vision",
)
PATCHES = torch.ones(1, 2, 3, 4, dtype=torch.bool)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (SIGLIP2, {"pixel_values": lambda p: p[0]}, r"\(images, patches, 192\)"),
        (SIGLIP2, {"pixel_values": lambda p: p[..., 1:]}, r"\(images, patches, 192\)"),
        (SIGLIP2, {"pixel_values": lambda p: p.int()}, "normalised floats"),
        (SIGLIP2, {"pixel_values": None}, "pixel_values must be a tensor"),
        (SIGLIP2, {"spatial_shapes": None}, "spatial_shapes must be a tensor"),
        (SIGLIP2, {"pixel_attention_mask": None}, "pixel_attention_mask must be a tensor"),
        (SIGLIP2, {"pixel_attention_mask": lambda m: m.float()}, "booleans or integers"),
        (SIGLIP2, {"pixel_attention_mask": lambda m: m[:, 1:]}, "to fit pixel_values"),
        (SIGLIP2, {"pixel_attention_mask": at(1, 1, value=0)}, r"mask\[1\] must mark the first 2 .*others"),
        (SIGLIP2, {"pixel_attention_mask": at(0, 6, value=1)}, r"mask\[0\] must mark the first 6"),
        (SIGLIP2, {"pixel_attention_mask": at(0, value=0)}, r"mask\[0\] must mark"),
        (SIGLIP2, {"spatial_shapes": lambda s: s[:1]}, "1 rows for 2 images"),
        (SIGLIP2, {"spatial_shapes": lambda s: s.float()}, "integers"),
        (SIGLIP2, {"spatial_shapes": at(1, 0, value=0)}, r"\[1\] is \(0, .*; both must be at least 1"),
        (SIGLIP2, {"spatial_shapes": at(1, value=-1)}, "both must be at least 1"),
        (SIGLIP2, {"spatial_shapes": at(0, 0, value=4)}, "4x3 patches, but pixel_values has 9"),
        (SIGLIP2, {"image_sizes": torch.ones(2, 2)}, "unexpected input image_sizes"),
        (IDEFICS2, {"pixel_values": lambda p: p[0, 0]}, r"images, 3, height, width\)"),
        (IDEFICS2, {"pixel_values": lambda p: p[:, :, :2]}, r"images, 3, height, width\)"),
        (IDEFICS2, {"pixel_values": lambda p: p[..., :7]}, "smaller than one patch"),
        (IDEFICS2, {"pixel_values": lambda p: p.byte()}, "normalised floats"),
        (IDEFICS2, {"pixel_attention_mask": lambda m: m[0]}, "to fit pixel_values"),
        (IDEFICS2, {"pixel_attention_mask": lambda m: m.float()}, "booleans or integers"),
        (IDEFICS2, {"pixel_attention_mask": at(0, 1, 3, 3, value=0)}, "image 1 must mark a rectangle"),
        (IDEFICS2, {"pixel_attention_mask": at(0, 0, 0, value=0)}, "image 0 must mark a rectangle"),
        (
            IDEFICS2,
            {"pixel_attention_mask": at(0, 1, slice(7, None), value=0)},
            "image 1 must mark at least one whole patch",
        ),
        (IDEFICS3, {"pixel_attention_mask": at(0, 1, 20, 20, value=1)}, "image 1 must mark a rectangle"),
        (IDEFICS3, {"patch_attention_mask": PATCHES}, "not both"),
        (IDEFICS3, {"pixel_attention_mask": None, "patch_attention_mask": PATCHES[0]}, "to fit pixel_values"),
        (IDEFICS3, {"pixel_mask": torch.ones(1)}, "unexpected input pixel_mask"),
        (GEMMA4, {"pixel_values": lambda p: p[0]}, r"\(images, patches, 12\)"),
        (GEMMA4, {"pixel_values": lambda p: p.double().long()}, "normalised floats"),
        (GEMMA4, {"image_position_ids": None}, "image_position_ids must be a tensor"),
        (GEMMA4, {"image_position_ids": lambda i: i.float()}, "integers"),
        (GEMMA4, {"image_position_ids": lambda i: i[:, 1:]}, "to fit pixel_values"),
        (GEMMA4, {"image_position_ids": lambda i: i.flip(2)}, r"ids\[0\] must be the columns and rows"),
        (GEMMA4, {"image_position_ids": lambda i: i.flip(1)}, "raster order"),
        (GEMMA4, {"image_position_ids": at(1, 5, 0, value=-1)}, r"ids\[1\] must be"),
        (GEMMA4, {"image_position_ids": at(1, 5, 0, value=2**40)}, r"ids\[1\] must be"),
        (GEMMA4, {"image_position_ids": at(1, value=-1)}, r"ids\[1\] is all -1"),
        (GEMMA4, {"image_position_ids": at(1, slice(4, None), value=-1)}, "multiples of 2"),
        (
            GEMMA4,
            {"num_soft_tokens_per_image": at(0, value=5)},
            r"\[5, 2\], but image_position_ids stands for",
        ),
        (GEMMA4, {"pixel_position_ids": torch.ones(1)}, "unexpected input image_position_ids"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(name: str, changes: dict[str, Any], message: str) -> None:
    encoder = tower(name)
    assert len(encoder(**changed(name))) == 2
    with pytest.raises(InputError, match=message):
        encoder(**changed(name, **changes))


@each_family
def test_no_images_give_no_features(name: str) -> None:
    encoder = tower(name)
    axis = 1 if "pixel_attention_mask" in (batch := batch_of(name, SHAPES[1])) and "idefics" in name else 0
    assert encoder(**{key: value.narrow(axis, 0, 0) for key, value in batch.items()}) == ()


@pytest.mark.parametrize("name", [IDEFICS2, IDEFICS3, "smolvlm_vision"])
def test_images_that_fill_up_a_sample_are_left_out(name: str) -> None:
    encoder = tower(name)
    batch = batch_of(name, SHAPES[1])
    want = run(encoder, batch)
    filled = {
        key: torch.cat([value[:, 2:], value[:, :2] * 0, value[:, :2]], 1) for key, value in batch.items()
    }
    samples = {key: value.unflatten(1, (2, 3)).squeeze(0) for key, value in filled.items()}
    assert_close(run(encoder, samples), want[2:] + want[:2])
    flat = {key: value.flatten(0, 1) for key, value in samples.items()}
    with pytest.raises(InputError, match=r"image 2 must mark at least one"):
        encoder(**flat)
    assert encoder(**{key: value[:, 2:4] * 0 for key, value in filled.items()}) == ()


@pytest.mark.parametrize("name", [IDEFICS2, IDEFICS3])
def test_idefics_takes_the_towers_own_inputs(name: str) -> None:
    encoder = tower(name)
    pixels = torch.randn(2, 3, 27, 33)
    alone = run(encoder, {"pixel_values": pixels})
    assert [len(part) for part in alone] == [12, 12]
    mask = torch.ones(2, 3, 4, dtype=torch.bool)
    mask[1, :, 2:] = False
    masked = run(encoder, {"pixel_values": pixels, "patch_attention_mask": mask})
    assert_close(masked[0], alone[0])
    assert len(masked[1]) == 6


def test_gemma4_takes_the_towers_own_inputs() -> None:
    encoder = tower(GEMMA4)
    batch = batch_of(GEMMA4, SHAPES[1])
    named = {"pixel_values": batch["pixel_values"], "pixel_position_ids": batch["image_position_ids"]}
    assert all(torch.equal(a, b) for a, b in zip(run(encoder, named), run(encoder, batch), strict=True))


def test_gemma4_refuses_more_patches_than_positions() -> None:
    encoder = compose({"schema": 1, "encoder": tiny.PADDED[GEMMA4] | {"position_embedding_size": 4}})
    assert len(encoder(**batch_of(GEMMA4, [(2, 2)]))) == 1
    with pytest.raises(InputError, match="2x6 patches, but the encoder has positions for 4"):
        encoder(**batch_of(GEMMA4, [(1, 3)]))


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        (SIGLIP2, {"num_patches": 8}, "num_patches: 8 is no square"),
        (SIGLIP2, {"image_size": 224}, "image_size: unknown key"),
        (GEMMA4, {"head_dim": 6}, "head_dim: the rope needs"),
        (GEMMA4, {"num_key_value_heads": 3}, "num_key_value_heads: 3 do not divide"),
        (GEMMA4, {"pooling_kernel_size": 1}, "pooling_kernel_size"),
        (IDEFICS2, {"image_size": 7}, "no patch fits"),
    ],
)
def test_encoders_that_cannot_work(name: str, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan({"schema": 1, "encoder": tiny.PADDED[name] | keys})


@pytest.mark.parametrize(
    ("name", "keys", "key"),
    [
        ("siglip2_vision_model/headless", {"head": True}, "head"),
        (SIGLIP2, {"feature_select_strategy": "class"}, "feature_select_strategy"),
        (SIGLIP2, {"head": True, "select_layers": [1]}, "select_layers"),
        (IDEFICS3, {"head": True}, "head"),
        (GEMMA4, {"post_norm": "last"}, "post_norm"),
        (GEMMA4, {"rope_type": "none"}, "rope_type"),
    ],
)
def test_configs_that_cannot_work(name: str, keys: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        plan({"schema": 1, "encoder": tiny.PADDED[name], **keys})
