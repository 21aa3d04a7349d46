"""The feature functions: which layer, which norm, which tokens, how many."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vision_composer import (
    get_num_selected_vision_tokens,
    register_feature_selector,
    resolve_visual_encoder_outputs,
)
from vision_composer.errors import InputError
from vision_composer.schemas import FEATURE_SELECTOR_PLUGINS

DEPTH, TOKENS, WIDTH = 5, 7, 3


class Marked(nn.Module):
    """A norm that leaves its mark: adds 1000."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features + 1000


def states(computed: int = DEPTH) -> list[torch.Tensor]:
    """Hidden states whose every value is their index, plus a hundredth per token."""
    tokens = torch.arange(TOKENS).view(1, TOKENS, 1) / 100
    return [(k + tokens).expand(2, TOKENS, WIDTH).clone() for k in range(computed + 1)]


layer = st.integers(-DEPTH - 1, DEPTH)


@given(st.lists(layer, min_size=1, max_size=6))
def test_each_layer_is_itself_and_only_the_last_is_normed(layers: list[int]) -> None:
    got = resolve_visual_encoder_outputs(states(), Marked(), select_layers=layers)
    assert got.shape == (2, TOKENS, WIDTH * len(layers))
    for position, k in enumerate(layers):
        index = k if k >= 0 else DEPTH + 1 + k
        value = got[0, 0, position * WIDTH].item()
        assert value == index + (1000 if index == DEPTH else 0)


@given(st.lists(layer, min_size=1, max_size=4), st.integers(0, DEPTH))
def test_layers_that_were_not_loaded_are_an_error_never_a_wrap(layers: list[int], loaded: int) -> None:
    deepest = max(k if k >= 0 else DEPTH + 1 + k for k in layers)

    def resolve() -> torch.Tensor:
        return resolve_visual_encoder_outputs(
            states(loaded), Marked(), select_layers=layers, max_possible_layers=DEPTH
        )

    if deepest > loaded:
        with pytest.raises(InputError, match=f"only 0 to {loaded} were computed"):
            resolve()
    else:
        full = resolve_visual_encoder_outputs(states(), Marked(), select_layers=layers)
        assert torch.equal(resolve(), full)


@pytest.mark.parametrize("bad", [DEPTH + 1, -DEPTH - 2, 99])
def test_layers_that_do_not_exist(bad: int) -> None:
    with pytest.raises(InputError, match=f"layer {bad} does not exist"):
        resolve_visual_encoder_outputs(states(), None, select_layers=[0, bad])


def test_the_last_hidden_state_alone() -> None:
    last = states()[-1]
    got = resolve_visual_encoder_outputs(last, Marked(), feature_select_strategy="default")
    assert torch.equal(got, last[:, 1:] + 1000)
    assert torch.equal(resolve_visual_encoder_outputs(last, None), last)


def test_last_hs_proc_comes_before_the_norm_and_touches_the_last_layer_only() -> None:
    got = resolve_visual_encoder_outputs(
        states(),
        Marked(),
        select_layers=[1, -1],
        last_hs_proc=lambda state: state * 0,
        feature_select_strategy="class",
    )
    assert got[0, 0].tolist() == [1.0] * WIDTH + [1000.0] * WIDTH


def test_arguments_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="not a list"):
        resolve_visual_encoder_outputs(states(), None)
    with pytest.raises(InputError, match="list of all hidden states"):
        resolve_visual_encoder_outputs(states()[0], None, select_layers=[0])
    with pytest.raises(InputError, match="empty"):
        resolve_visual_encoder_outputs(states(), None, select_layers=[])
    with pytest.raises(InputError, match="encoder_outputs is empty"):
        resolve_visual_encoder_outputs([], None, select_layers=[0], max_possible_layers=DEPTH)
    with pytest.raises(InputError, match=f"max_possible_layers is {DEPTH - 1}, but .* of {DEPTH} layers"):
        resolve_visual_encoder_outputs(states(), None, select_layers=[-1], max_possible_layers=DEPTH - 1)
    with pytest.raises(InputError, match="did you mean 'default'"):
        resolve_visual_encoder_outputs(states()[0], None, feature_select_strategy="defualt")


@given(st.integers(0, 40), st.integers(0, 6), st.sampled_from(["class", "default", "full"]))
def test_token_counts_are_what_selection_leaves(tokens: int, prefix: int, strategy: str) -> None:
    if strategy == "class" and prefix == 0:
        with pytest.raises(InputError, match="needs a class token"):
            get_num_selected_vision_tokens(tokens, strategy, num_prefix_tokens=prefix)
        return
    got = resolve_visual_encoder_outputs(
        torch.zeros(1, tokens, 2), None, feature_select_strategy=strategy, num_prefix_tokens=prefix
    )
    assert get_num_selected_vision_tokens(tokens, strategy, num_prefix_tokens=prefix) == got.shape[1]


def test_callables_are_probed_at_the_width_they_are_given() -> None:
    def needs_twelve(features: torch.Tensor) -> torch.Tensor:
        return features.view(1, -1, 12)[:, ::2]

    assert get_num_selected_vision_tokens(9, needs_twelve, hidden_size=12) == 5
    with pytest.raises(InputError, match="negative"):
        get_num_selected_vision_tokens(-1, "full")


def test_registered_selectors() -> None:
    try:
        register_feature_selector("every_other", lambda features: features[:, ::2])
        assert get_num_selected_vision_tokens(7, "every_other") == 4
        with pytest.raises(InputError, match="already registered: Python call"):
            register_feature_selector("every_other", lambda features: features)
    finally:
        FEATURE_SELECTOR_PLUGINS.unregister("every_other")
    with pytest.raises(InputError, match="already registered"):
        register_feature_selector("full", lambda features: features)


def test_a_strategy_of_none_leaves_tensors_of_any_shape_alone() -> None:
    for shape in [(), (4,), (2, 3), (2, 3, 4), (1, 2, 3, 4)]:
        last = torch.arange(math.prod(shape), dtype=torch.float32).view(shape)
        assert torch.equal(resolve_visual_encoder_outputs(last, None), last)
        doubled = resolve_visual_encoder_outputs(last, None, last_hs_proc=lambda state: 2 * state)
        assert torch.equal(doubled, 2 * last)
    states = [torch.full((4,), float(k)) for k in range(3)]
    got = resolve_visual_encoder_outputs(states, None, select_layers=[0, -1], max_possible_layers=2)
    assert got.tolist() == [0.0] * 4 + [2.0] * 4


def test_nothing_is_left_of_no_tokens() -> None:
    for strategy in ("class", "default", "full"):
        assert get_num_selected_vision_tokens(0, strategy) == 0
