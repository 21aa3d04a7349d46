"""Every family against transformers itself: hidden states, norms, strategies, heads, sizes, parameters."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from support import tiny
from support.checkpoints import Folders
from support.kinds import one_of_each_kind

from vision_composer import compose, plan
from vision_composer.encoders import FAMILIES, get_vision_encoder_info
from vision_composer.errors import ConfigError, InputError
from vision_composer.schemas import ENCODER_CONFIGS, encoder_config
from vision_composer.tower.module import VisionTower

DEPTH = 4
LAYERS = [
    *(None, [-2], [0], [-5, 4, 2, 2, -1]),
    *(pytest.param(layers, marks=pytest.mark.slow) for layers in ([-1], [DEPTH], [3, 1], [1, -1, 1])),
]


@cache
def reference(name: str) -> Any:
    """transformers' model of a tiny encoder; the tests only read it."""
    return tiny.reference(tiny.ENCODERS[name])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return Folders(tmp_path_factory.mktemp("checkpoints"), reference)


def config(name: str, folders: dict[str, Path] | None = None, **keys: Any) -> dict[str, Any]:
    """With weights of transformers' model, or with random ones, which takes much less time."""
    weights = {"source": str(folders[name])} if folders is not None else {}
    return {"schema": 1, "encoder": tiny.ENCODERS[name], "weights": weights, **keys}


def saved_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a folder, by its name there."""
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def policies(name: str, layers: list[int] | None) -> list[str]:
    encoder = encoder_config(tiny.ENCODERS[name])
    if not encoder.has_post_norm:
        return ["auto", "none"]
    return ["auto", "last", "each"] if encoder.merger and layers is None else ["auto", "none", "last", "each"]


def expected(model: Any, pixel_values: torch.Tensor, layers: list[int] | None, policy: str) -> torch.Tensor:
    states = tiny.hidden_states(model, pixel_values)
    norm = tiny.post_norm(model)
    with torch.no_grad():
        if layers is None:
            if policy == "auto":
                return tiny.own_output(model, pixel_values)
            state = states[DEPTH] if policy == "none" else norm(states[DEPTH])
            return tiny.merged(model, state)
        picked = []
        for layer in layers:
            index = layer if layer >= 0 else DEPTH + 1 + layer
            normed = policy == "each" or (policy == "last" and index == DEPTH)
            picked.append(norm(states[index]) if normed else states[index])
        return torch.cat(picked, dim=-1)


def test_every_family_has_a_schema_and_every_schema_a_family() -> None:
    assert FAMILIES.keys() == ENCODER_CONFIGS.keys()


def test_every_family_has_a_tiny_encoder() -> None:
    """Without one, the tests of every family leave it out."""
    tiny_ones = {encoder["model_type"] for encoder in tiny.ALL.values()}
    assert tiny_ones == {family.model_type for family in FAMILIES.values()}


@pytest.mark.parametrize("layers", LAYERS, ids=str)
@pytest.mark.parametrize("name", tiny.ENCODERS)
def test_hidden_states_equal_transformers_bitwise(name: str, layers: list[int] | None) -> None:
    model = reference(name)
    pixel_values = tiny.pixels(tiny.ENCODERS[name])
    for policy in policies(name, layers):
        keys = config(name, select_layers=layers, post_norm=policy)
        encoder = tiny.with_weights_of(model, compose(keys))
        with torch.no_grad():
            got = encoder(pixel_values=pixel_values)
        assert torch.equal(got, expected(model, pixel_values, layers, policy)), policy


@pytest.mark.parametrize("name", one_of_each_kind(tiny.ENCODERS))
def test_strategies_keep_the_right_tokens(name: str, folders: dict[str, Path]) -> None:
    fields = encoder_config(tiny.ENCODERS[name])
    prefix, suffix = fields.num_prefix_tokens, fields.num_suffix_tokens
    pixel_values = tiny.pixels(tiny.ENCODERS[name])
    full = expected(reference(name), pixel_values, [-2, 1], "none")
    wanted = {"full": full, "default": full[:, prefix : full.shape[1] - suffix]}
    if fields.has_class_token:
        wanted["class"] = full[:, :1] if prefix else full[:, -1:]
    for strategy, tokens in wanted.items():
        keys = {"select_layers": [-2, 1], "feature_select_strategy": strategy, "post_norm": "none"}
        encoder = compose(config(name, folders, **keys))
        with torch.no_grad():
            got = encoder(pixel_values=pixel_values)
        assert torch.equal(got, tokens), strategy
        assert got.is_contiguous()
        assert got.shape[1] == encoder.plan.tokens_of(*[tiny.ENCODERS[name]["image_size"]] * 2)


@pytest.mark.parametrize("name", [name for name, e in tiny.ENCODERS.items() if encoder_config(e).has_head])
def test_head_equals_the_pooled_output(name: str, folders: dict[str, Path]) -> None:
    pixel_values = tiny.pixels(tiny.ENCODERS[name])
    with torch.no_grad():
        pooled = reference(name)(pixel_values=pixel_values).pooler_output
        encoder = compose(config(name, folders, head=True))
        assert torch.equal(encoder(pixel_values=pixel_values), pooled.unsqueeze(1))
    assert encoder.plan.num_tokens(32, 32) == 1
    assert encoder.plan.output_width == pooled.shape[-1]
    assert (encoder.plan.shapes or {}).items() <= saved_shapes(folders[name]).items()
    assert sum(parameter.numel() for parameter in encoder.parameters()) == encoder.plan.num_parameters


@pytest.mark.parametrize("name", [name for name, e in tiny.ENCODERS.items() if tiny.takes_any_size(e)])
@pytest.mark.parametrize("size", [(32, 32), (8, 8), (24, 56), (33, 47), (65, 9)], ids=str)
def test_other_sizes_equal_transformers(name: str, size: tuple[int, int], folders: dict[str, Path]) -> None:
    pixel_values = tiny.pixels(tiny.ENCODERS[name], size=size)
    want = expected(reference(name), pixel_values, [-2], "none")
    with torch.no_grad():
        got = compose(config(name, folders, select_layers=[-2]))(pixel_values=pixel_values)
    assert torch.equal(got, want)


@pytest.mark.parametrize("name", one_of_each_kind(tiny.ENCODERS))
def test_num_tokens_is_what_comes_out(name: str) -> None:
    encoder = tiny.ENCODERS[name]
    tower = compose(
        {"schema": 1, "encoder": encoder, "select_layers": [1], "feature_select_strategy": "default"}
    )

    @settings(max_examples=25, deadline=None)
    @given(st.integers(1, 70), st.integers(1, 70))
    def check(width: int, height: int) -> None:
        size = (height, width) if tower.info.any_size else (encoder["image_size"],) * 2
        pixel_values = tiny.pixels(encoder, images=1, size=size)
        try:
            tokens = tower.plan.tokens_of(size[1], size[0])
        except InputError:
            with pytest.raises(InputError, match="smaller than one patch"):
                tower(pixel_values=pixel_values)
            return
        with torch.no_grad():
            assert tower(pixel_values=pixel_values).shape[1] == tokens

    check()


@pytest.mark.parametrize("layers", [[0], [2], None], ids=str)
@pytest.mark.parametrize("name", one_of_each_kind(tiny.ENCODERS))
def test_only_what_is_used_exists_and_all_of_it_trains(name: str, layers: list[int] | None) -> None:
    encoder = compose(config(name, select_layers=layers))
    assert len(encoder.blocks) == (DEPTH if layers is None else max(layers))
    encoder.train()
    encoder(pixel_values=tiny.pixels(tiny.ENCODERS[name])).square().sum().backward()
    assert [path for path, parameter in encoder.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("policy", ["auto", "last"])
@pytest.mark.parametrize("layers", [[0], [2, 3], [-1], None], ids=str)
@pytest.mark.parametrize("name", tiny.ENCODERS)
def test_planned_tensors_are_those_of_the_checkpoint_and_the_module(
    name: str, layers: list[int] | None, policy: str, folders: dict[str, Path]
) -> None:
    if policy not in policies(name, layers):
        policy = "auto"
    keys = config(name, select_layers=layers, post_norm=policy)
    planned = plan(keys)
    assert planned.shapes is not None
    assert planned.shapes.items() <= saved_shapes(folders[name]).items()
    assert sum(parameter.numel() for parameter in compose(keys).parameters()) == planned.num_parameters


@pytest.mark.parametrize("name", one_of_each_kind(tiny.ENCODERS))
def test_saved_towers_carry_the_names_of_checkpoints(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    encoder = compose(config(name, folders, select_layers=[-2, 0]))
    encoder.save(tmp_path)
    assert saved_shapes(tmp_path) == encoder.plan.shapes
    again = compose(tmp_path)
    assert again.config.select_layers == (-2, 0)
    pixel_values = tiny.pixels(tiny.ENCODERS[name])
    with torch.no_grad():
        assert torch.equal(again(pixel_values=pixel_values), encoder(pixel_values=pixel_values))


@pytest.mark.parametrize("name", one_of_each_kind(tiny.ENCODERS))
def test_flops_equal_what_torch_counts(name: str) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    for keys in ({"select_layers": [3]}, {}, {"head": True}):
        if "head" in keys and not encoder_config(tiny.ENCODERS[name]).has_head:
            continue
        encoder = compose(config(name, attn_backend="eager", **keys))
        pixel_values = tiny.pixels(tiny.ENCODERS[name], images=1)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            encoder(pixel_values=pixel_values)
        counted = counter.get_total_flops()
        planned = encoder.plan.flops(*[tiny.ENCODERS[name]["image_size"]] * 2)
        # Positions and rope multiply matrices too, and the counter sees attention inside a pooling head only
        # in part; both are below one per cent of even these tiny blocks.
        assert planned == pytest.approx(counted, rel=0.02)


@pytest.mark.parametrize("name", [name for name, e in tiny.ENCODERS.items() if encoder_config(e).merger])
def test_a_merged_output_holds_patches_only(name: str, folders: dict[str, Path]) -> None:
    pixel_values = tiny.pixels(tiny.ENCODERS[name])
    outputs = {}
    for strategy in ("full", "default", lambda tokens: tokens[:, ::3]):
        encoder = compose(config(name, folders))
        readout = replace(encoder.plan.readout, strategy=strategy)
        tower = VisionTower(encoder.model, encoder.family, encoder.info, readout)
        batch = tower.read({"pixel_values": pixel_values})
        with torch.no_grad():
            outputs[strategy] = tower(batch)
        assert tower(batch.take([])).shape[1:] == outputs[strategy].shape[1:]
    full, default, every_third = outputs.values()
    assert torch.equal(default, full)
    assert torch.equal(every_third, full[:, ::3])
    if encoder_config(tiny.ENCODERS[name]).has_class_token:
        with pytest.raises(ConfigError, match="holds no class token"):
            plan(config(name, folders, feature_select_strategy="class"))


@pytest.mark.parametrize("name", tiny.ENCODERS)
def test_info_from_a_transformers_config(name: str) -> None:
    model = reference(name)
    info = get_vision_encoder_info(model.config)
    encoder = encoder_config(tiny.ENCODERS[name])
    assert info == FAMILIES[encoder.model_type].info(encoder)
