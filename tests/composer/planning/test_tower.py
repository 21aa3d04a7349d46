"""The plan's arithmetic, without torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from math import prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import tiny

from vision_composer import plan
from vision_composer.encoders import family_of
from vision_composer.encoders.shapes import Part
from vision_composer.errors import ConfigError, InputError
from vision_composer.planning import Plan
from vision_composer.presets import load_config, preset_names

_ENCODER = {
    "model_type": "dinov2_with_registers",
    "hidden_size": 32,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
}


@given(
    st.lists(st.integers(-7, 6), min_size=1, max_size=5),
    st.sampled_from(["auto", "none", "last", "each"]),
)
def test_layers_resolve_against_the_full_depth(layers: list[int], policy: str) -> None:
    planned = plan({"schema": 1, "encoder": _ENCODER, "select_layers": layers, "post_norm": policy})
    resolved = [k if k >= 0 else 7 + k for k in layers]
    assert list(planned.select_layers) == resolved
    assert planned.num_blocks == max(resolved)
    assert planned.output_width == 32 * len(layers)
    wanted = {"auto": set(), "none": set(), "last": {6} & set(resolved), "each": set(resolved)}[policy]
    assert planned.norm_layers == wanted


@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from(["class", "default", "full"]))
def test_tokens_of_any_size(width: int, height: int, strategy: str) -> None:
    planned = plan({"schema": 1, "encoder": _ENCODER, "feature_select_strategy": strategy})
    patches = (width // 16) * (height // 16)
    if not patches:
        with pytest.raises(InputError, match="smaller than one patch"):
            planned.tokens_of(width, height)
        return
    assert planned.tokens_of(width, height) == {"class": 1, "default": patches, "full": patches + 5}[strategy]


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-3, 5)])
def test_empty_images(size: tuple[int, int]) -> None:
    for model_type in ("dinov2", "clip_vision_model"):
        with pytest.raises(InputError, match="is empty"):
            plan({"schema": 1, "encoder": {"model_type": model_type}}).num_tokens(*size)


def test_llava_in_numbers() -> None:
    """Figures that the paper and the published config give: 576 tokens of 1024 features, 23 of 24 blocks."""
    planned = plan("llava-1.5-7b")
    assert planned.num_tokens(672, 1008) == 576
    assert (planned.output_width, planned.num_blocks, planned.info.num_hidden_layers) == (1024, 23, 24)


def test_planning_loads_no_torch() -> None:
    code = (
        "import sys, vision_composer as vc; vc.plan('llava-1.5-7b').to_dict([(672, 1008)]);"
        "sys.exit(sorted({'torch', 'transformers', 'numpy'} & set(sys.modules)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def settings(config: dict[str, Any]) -> Iterator[Plan]:
    """Plans of an encoder with its own output, an inner hidden state, none of its blocks, and its head."""
    encoder = {"schema": 1, "encoder": config}
    for keys in ({}, {"select_layers": [-2]}, {"select_layers": [0]}, {"head": True}, {"deepstack": "none"}):
        with suppress(ConfigError):  # not every encoder has a head, or as many blocks as its output joins
            yield plan({**encoder, **keys})


ONE_TOWER = [name for name in preset_names() if "" in load_config(name).towers_by_name]


@pytest.mark.parametrize("name", [*ONE_TOWER, *(f"tiny {name}" for name in tiny.ENCODERS)])
def test_counts_are_those_of_the_listed_tensors(name: str) -> None:
    _, _, own = name.rpartition("tiny ")
    config = tiny.ENCODERS[own] if name.startswith("tiny ") else load_config(name).to_dict()["encoder"]
    plans = list(settings(config))
    assert len(plans) >= 2
    for planned in plans:
        assert planned.shapes
        buffers = family_of(planned.encoder).buffers
        parameters = [prod(s) for name, s in planned.shapes.items() if name.split(".")[-1] not in buffers]
        assert planned.num_checkpoint_tensors == len(planned.shapes)
        assert planned.num_parameters == sum(parameters)


@pytest.mark.parametrize("name", tiny.ENCODERS)
def test_a_plan_lists_no_tensors(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(part: Part) -> None:
        raise AssertionError("the tensors of every block are written out")

    monkeypatch.setattr(Part, "expanded", refuse)
    assert plan({"schema": 1, "encoder": tiny.ENCODERS[name]}).to_dict([(640, 480)])["num_parameters"]


@pytest.mark.parametrize("depth", [1_025, 10_000_000, 9 * 10**18])
def test_a_depth_without_end_is_refused(depth: int) -> None:
    with pytest.raises(ConfigError, match="num_hidden_layers: must be at most 1024"):
        plan({"schema": 1, "encoder": {"model_type": "clip_vision_model", "num_hidden_layers": depth}})


def test_a_family_says_how_wide_its_head_is(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"schema": 1, "encoder": tiny.ENCODERS["siglip_vision_model"], "head": True}
    assert plan(config).output_width == 32
    family = type(family_of(plan(config).encoder))
    monkeypatch.setattr(family, "head_width", lambda family, encoder: 3 * encoder.hidden_size)
    assert plan(config).output_width == 96


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        (
            "siglip_vision_model",
            {"output": "embeds", "connector": {"type": "internvl", "hidden_size": 8, "downsample_factor": 3}},
            r"^connector\.type: 4x4 patches are no whole squares of 3x3",
        ),
        (
            "siglip_vision_model",
            {"output": "tiles", "tiling": {"type": "molmo2"}},
            r"^tiling\.type: molmo2 is for images that go through Molmo2ImageProcessor",
        ),
    ],
)
def test_what_no_image_fits_is_refused_with_the_config(name: str, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan({"schema": 1, "encoder": tiny.ENCODERS[name], **keys})


def test_an_encoder_of_any_size_may_take_other_images_than_a_square() -> None:
    steps = {"type": "steps", "hidden_size": 32, "steps": [{"type": "space_to_depth", "factor": 3},
             {"type": "linear", "width": 32}]}  # fmt: skip
    keys = {"output": "embeds", "connector": steps}
    planned = plan({"schema": 1, "encoder": tiny.PACKED["pixtral"], **keys})
    side, patch = planned.image_size, planned.towers[""].info.patch_size
    with pytest.raises(InputError, match="no whole squares of 3x3"):
        planned.num_tokens(side, side)
    assert planned.num_tokens(3 * patch, 6 * patch) == 2
