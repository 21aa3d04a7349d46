"""The plan of several towers: against the encoder, and what it refuses and where."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import packed, tiny
from support.fused import CLIP, DINO, SIGLIP, composed, config
from support.images import noise_image
from torch.utils.flop_counter import FlopCounterMode

from vision_composer import load_config, plan
from vision_composer.errors import ConfigError, InputError

STEPS = [{"type": "space_to_depth"}, {"type": "linear", "width": 40}]
PROJECT = {"dino": {"width": 24}, "siglip": {"width": 24, "bias": False}}
KEYS: dict[str, dict[str, Any]] = {
    "channel": {"align": {"grid": [4, 6]}},
    "sequence": {"fuse": "sequence"},
    "sum": {"fuse": "sum", "align": {"grid": [2, 2]}, "project": PROJECT},
    "stacked": {"input": "stacked", "align": {"grid": [4, 4]}},
    "shared": {"input": "shared", "image_processor": {"size": 40}, "align": {"grid": [3, 3]}},
    "embeds": {
        "align": {"grid": [4, 6]},
        "output": "embeds",
        "connector": {"type": "steps", "hidden_size": 40, "steps": STEPS},
    },
}
NATIVE = {
    "dino": DINO,
    "navit": {"encoder": packed.ENCODERS["siglip2_vision_model"]},
    "qwen": {"encoder": tiny.PACKED["qwen2_5_vl_vision"]},
}


@cache
def encoder(name: str) -> Any:
    if name == "native":
        return composed(NATIVE, align={"grid": [3, 2]})
    if name == "native sequence":
        return composed({"dino": DINO, "navit": NATIVE["navit"]}, fuse="sequence")
    return composed(**KEYS[name])


SIDES = st.integers(1, 90)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([*KEYS, "native", "native sequence"]), SIDES, SIDES)
def test_as_many_tokens_come_out_as_planned(name: str, width: int, height: int) -> None:
    fused = encoder(name)
    try:
        planned = plan(fused.config).num_tokens(width, height)
    except InputError:
        with pytest.raises((InputError, ValueError)):
            fused.encode([noise_image(width, height)])
        return
    (features,) = fused.encode([noise_image(width, height)])
    assert features.shape == (planned, fused.plan.output_width)
    assert fused.num_tokens(width, height) == planned


@pytest.mark.parametrize("name", [*KEYS, "native"])
def test_parameters_and_bytes_are_those_of_the_encoder(name: str) -> None:
    fused = encoder(name)
    parameters = list(fused.parameters())
    assert fused.plan.num_parameters == sum(value.numel() for value in parameters)
    assert fused.plan.num_bytes == sum(value.nbytes for value in parameters)
    assert fused.plan.num_checkpoint_tensors == len(fused.state_dict())
    halved = plan(fused.config, overrides=["weights.dtype=float16"])
    assert halved.num_bytes == 2 * fused.plan.num_parameters
    assert halved.dtype == "float16"


@pytest.mark.parametrize("name", KEYS)
def test_flops_are_what_torch_counts(name: str) -> None:
    fused = composed(**KEYS[name], attn_backend="eager")
    inputs = fused.preprocess([noise_image(50, 40)])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        fused(**inputs)
    assert fused.plan.flops(50, 40) == counter.get_total_flops()


def test_the_plan_says_what_each_tower_is() -> None:
    planned = plan(config(**KEYS["sum"]))
    facts = planned.to_dict([(30, 40)])
    assert list(facts["towers"]) == ["dino", "siglip"]
    assert facts["towers"]["dino"]["model_type"] == "dinov2"
    assert facts["images"] == [{"width": 30, "height": 40, "num_tokens": 4, "flops": planned.flops(30, 40)}]
    assert planned.num_blocks == 3 + 4
    assert (facts["output_width"], facts["output_layout"]) == (24, "(images, tokens, width)")
    assert plan(config(NATIVE, align={"grid": [3, 2]})).layout == "(tokens, width) per image"
    assert plan(config(**KEYS["embeds"])).layout == "(rows, width) per image"


FAULTS = {
    "grids": (
        "{a: {encoder: {model_type: dinov2, patch_size: 16}, feature_select_strategy: default},\n"
        "  b: {encoder: {model_type: siglip_vision_model, image_size: 64}}}",
        "2:6: towers.b: its tokens form a grid of 4x4, and those of a a grid of 14x14",
    ),
    "prefix": (
        "{a: {encoder: {model_type: siglip_vision_model}},\n  b: {encoder: {model_type: dinov2}}}",
        "2:6: towers.b: gives 257 tokens for 16x16 patches, which form no grid; set feature_select_strategy",
    ),
    "head": (
        "{a: {encoder: {model_type: dinov2}, feature_select_strategy: default},\n"
        "  b: {encoder: {model_type: siglip_vision_model}, head: true}}",
        "2:6: towers.b: gives 1 tokens for 14x14 patches, which form no grid; set feature_select_strategy: "
        "default, and leave head out",
    ),
    "sum": (
        "{a: {encoder: {model_type: siglip_vision_model}},\n"
        "  b: {encoder: {model_type: siglip_vision_model, hidden_size: 384}}}\nfuse: sum",
        "2:6: towers.b: gives 384 features per token, and a 768, which fuse: sum needs to be equal",
    ),
    "sequence": (
        "{a: {encoder: {model_type: dinov2}},\n"
        "  b: {encoder: {model_type: dinov2, hidden_size: 384}}}\nfuse: sequence",
        "2:6: towers.b: gives 384 features per token, and a 768, which fuse: sequence needs",
    ),
    "stacked": (
        "{a: {encoder: {model_type: siglip_vision_model}},\n"
        "  b: {encoder: {model_type: siglip_vision_model, image_size: 64}}}\n"
        "input: stacked\nalign: {grid: [4, 4]}",
        "2:6: towers.b: its image processor makes 64x64 pixels, and that of a 224x224",
    ),
    "square by square": (
        "{a: {encoder: {model_type: siglip_vision_model}},\n"
        "  b: {encoder: {model_type: qwen2_vl_vision}, select_layers: [1]}}\nalign: {grid: [4, 4]}",
        "2:6: towers.b: its hidden states come square by square; leave select_layers out",
    ),
    "square by square, unmerged": (
        "{a: {encoder: {model_type: siglip_vision_model}},\n"
        "  b: {encoder: {model_type: lfm3_vl_vision}}}\nalign: {grid: [4, 4]}",
        "2:6: towers.b: its hidden states come square by square; fuse: sequence takes them so",
    ),
    "squares": (
        "{a: {encoder: {model_type: siglip_vision_model}}, b: {encoder: {model_type: siglip_vision_model}}}\n"
        "align: {grid: [3, 4]}\noutput: embeds\n"
        "connector: {type: steps, hidden_size: 8, steps: [{type: avg_pool}, {type: linear, width: 8}]}",
        "connector.steps: 3x4 rows of an image are no whole squares of 2x2",
    ),
    "squares of a VLM's": (
        "{a: {encoder: {model_type: siglip_vision_model}}, b: {encoder: {model_type: siglip_vision_model}}}\n"
        "align: {grid: [4, 6]}\noutput: embeds\nconnector: {type: internvl, hidden_size: 8}",
        "4:19: connector.type: the connector 'internvl' takes square images, not 4x6 patches; fuse and align",
    ),
    "processor": (
        "{a: {encoder: {model_type: siglip_vision_model}},\n"
        "  b: {encoder: {model_type: siglip_vision_model}, image_processor: {min_pixels: 9}}}",
        "2:81: towers.b.image_processor.min_pixels: SiglipImageProcessor does not know it",
    ),
    "shared processor": (
        "{a: {encoder: {model_type: siglip_vision_model}},\n"
        "  b: {encoder: {model_type: siglip_vision_model}}}\n"
        "input: shared\nimage_processor: {min_pixels: 9}",
        "4:31: image_processor.min_pixels: SiglipImageProcessor does not know it",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_towers_that_do_not_fit_are_refused_where_they_stand(name: str, tmp_path: Path) -> None:
    towers, message = FAULTS[name]
    file = tmp_path / "two.yaml"
    file.write_text(f"towers: {towers}\nschema: 1\n")
    loaded = load_config(file)
    with pytest.raises(ConfigError) as caught:
        plan(loaded)
    (problem,) = caught.value.problems
    assert message in str(problem), problem
    assert problem.span is not None


def test_widths_and_grids_that_are_made_equal_fit() -> None:
    wide = {**CLIP, "select_layers": [-1, 1]}
    towers = {"clip": wide, "siglip": SIGLIP}
    with pytest.raises(ConfigError, match=r"towers\.siglip"):
        plan(config(towers, fuse="sum", align={"grid": [2, 2]}))
    with pytest.raises(ConfigError, match=r"towers\.clip"):
        plan(config({"siglip": SIGLIP, "clip": wide}, fuse="sum", align={"grid": [2, 2]}))
    planned = plan(config(towers, fuse="sum", align={"grid": [2, 2]}, project={"clip": {"width": 32}}))
    assert (planned.output_width, planned.num_tokens(9, 9)) == (32, 4)


def test_a_size_that_one_tower_refuses_names_it() -> None:
    planned = plan(config(NATIVE, align={"grid": [3, 2]}))
    with pytest.raises(InputError, match="tower qwen: "):
        planned.num_tokens(3000, 1)
    with pytest.raises(InputError, match=r"tower dino: .*is empty"):
        planned.num_tokens(0, 5)
