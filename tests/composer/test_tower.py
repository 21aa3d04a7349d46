"""The composed tower as a module: what it refuses, what it returns, how it behaves in a larger model."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support import tiny
from support.compare import assert_close

from vision_composer import ComposedVisionEncoder, compose
from vision_composer.errors import InputError
from vision_composer.tower.module import VisionTower
from vision_composer.tower.readout import HiddenStates

CLIP = tiny.ENCODERS["clip_vision_model"]
DINO = tiny.ENCODERS["dinov2"]


def tower(encoder: dict[str, Any] = CLIP, **keys: Any) -> ComposedVisionEncoder:
    return compose({"schema": 1, "encoder": encoder, **keys})


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "must be a tensor, not NoneType"),
        ({"pixel_values": np.zeros((1, 3, 32, 32))}, "must be a tensor, not ndarray"),
        (
            {"pixel_values": torch.zeros(3, 32, 32)},
            r"must be \(images, 3, height, width\), not \(3, 32, 32\)",
        ),
        ({"pixel_values": torch.zeros(1, 1, 32, 32)}, r"must be \(images, 3, height, width\)"),
        ({"pixel_values": torch.zeros(1, 3, 32, 32, dtype=torch.uint8)}, "must be normalised floats"),
        ({"pixel_values": torch.zeros(1, 3, 32, 40)}, "40x32 pixels, but this encoder takes 32x32"),
        (
            {"pixel_values": torch.zeros(1, 3, 32, 32), "image_grid_thw": torch.ones(1, 3)},
            "unexpected input image_grid",
        ),
    ],
)
def test_inputs_it_cannot_take(inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tower()(**inputs)


@pytest.mark.parametrize("layers", [[], [-1], [5]])
def test_hidden_states_that_are_not_there(layers: list[int]) -> None:
    good = tower()
    with pytest.raises(InputError, match="must name hidden states 0 to 4"):
        HiddenStates(good.family, good.plan.encoder, good.info, layers=tuple(layers))


def test_images_smaller_than_a_patch() -> None:
    with pytest.raises(InputError, match="7x64 pixels is smaller than one patch of 8x8"):
        tower(DINO)(pixel_values=torch.zeros(1, 3, 64, 7))


@pytest.mark.parametrize("name", tiny.ENCODERS)
def test_a_batch_without_images(name: str) -> None:
    encoder = tower(tiny.ENCODERS[name], select_layers=[1, 2], feature_select_strategy="default")
    one = encoder(pixel_values=tiny.pixels(tiny.ENCODERS[name], images=1))
    none = encoder(pixel_values=tiny.pixels(tiny.ENCODERS[name], images=0))
    assert none.shape == (0, *one.shape[1:])
    assert none.dtype == one.dtype


def test_an_image_does_not_see_its_neighbours() -> None:
    encoder = tower(select_layers=[-2])
    batch = tiny.pixels(CLIP, images=3)
    batch[1] = torch.nan
    with torch.no_grad():
        got = encoder(pixel_values=batch)
        alone = encoder(pixel_values=batch[2:])
    assert torch.isfinite(got[[0, 2]]).all()
    assert_close(got[2], alone[0])


def test_duplicate_layers_are_repeated_and_share_gradients() -> None:
    encoder = tower(select_layers=[2, 2])
    got = encoder(pixel_values=tiny.pixels(CLIP))
    width = CLIP["hidden_size"]
    assert torch.equal(got[..., :width], got[..., width:])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_dtype_is_kept_from_input_to_output(dtype: torch.dtype) -> None:
    encoder = compose({"schema": 1, "encoder": CLIP}, dtype=dtype)
    assert encoder.dtype is dtype
    assert encoder.plan.dtype == str(dtype).removeprefix("torch.")
    with torch.no_grad():
        assert encoder(pixel_values=tiny.pixels(CLIP)).dtype is dtype


def test_its_dtype_changes_as_that_of_any_module() -> None:
    """No attribute of ours stands in the place of a method of torch's modules."""
    assert tower().half().dtype == torch.float16
    assert set(vars(tower())).isdisjoint(vars(torch.nn.Module))


def test_it_lives_inside_another_model() -> None:
    model = torch.nn.Sequential(tower(select_layers=[-2]), torch.nn.Linear(32, 4))
    names = {name for name, _ in model.named_parameters()}
    assert "0.model.embeddings.class_embedding" in names
    again = torch.nn.Sequential(tower(select_layers=[-2]), torch.nn.Linear(32, 4))
    again.load_state_dict(model.state_dict())
    pixel_values = tiny.pixels(CLIP)
    assert torch.equal(model(pixel_values), again(pixel_values))


@pytest.mark.parametrize("strategy", ["class", "default", "full"])
def test_towers_can_be_pickled_and_copied(strategy: str) -> None:
    encoder = tower(feature_select_strategy=strategy)
    pixel_values = tiny.pixels(CLIP)
    for twin in (pickle.loads(pickle.dumps(encoder)), copy.deepcopy(encoder)):
        assert torch.equal(twin(pixel_values=pixel_values), encoder(pixel_values=pixel_values))


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_a_tower_that_has_run_on_flex_attention_can_be_pickled_and_copied() -> None:
    keys = {"schema": 1, "encoder": tiny.PACKED["pixtral"], "attn_backend": "flex_attention"}
    encoder = compose(keys)
    inputs = {"pixel_values": torch.randn(2, 3, 16, 24)}
    with torch.no_grad():
        want = encoder(**inputs)
        for twin in (pickle.loads(pickle.dumps(encoder)), copy.deepcopy(encoder)):
            assert all(torch.equal(one, other) for one, other in zip(twin(**inputs), want, strict=True))


def test_a_selector_may_only_take_tokens_away() -> None:
    good = tower(select_layers=[-2, -1])
    readout = replace(good.plan.readout, strategy=lambda features: features.mean(1))
    broken = VisionTower(good.model, good.family, good.info, readout)
    with pytest.raises(InputError, match="only takes tokens away"):
        broken(broken.read({"pixel_values": tiny.pixels(CLIP)}))
