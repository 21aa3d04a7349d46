"""The encoder that is checked: its towers are composed once, and held against transformers' own module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny

from vision_composer.encoders import family_of
from vision_composer.errors import ConformanceError
from vision_composer.schemas import TowerConfig
from vision_composer.testing.subject import Subject, named, run


def subject(name: str, folder: Path) -> Subject:
    torch.manual_seed(0)
    encoder = TowerConfig.model_validate(tiny.config(name)).encoder
    return Subject(encoder, family_of(encoder), folder, torch.device("cpu"))


def test_towers_are_composed_and_saved_once(tmp_path: Path) -> None:
    made = subject("clip_vision_model", tmp_path)
    tower = made.compose(select_layers=[1])
    assert made.compose(select_layers=[1]) is tower
    assert made.compose(select_layers=[2]) is not tower
    assert not made.compose().training
    folder = made.save(select_layers=[1])
    assert made.save(select_layers=[1]) == folder
    assert made.save() != folder
    assert (folder / "tower.yaml").exists()


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("clip_vision_model", [{}, {"select_layers": [4], "post_norm": "last"}]),
        ("siglip_vision_model", [{}, {"select_layers": [4], "post_norm": "last"}, {"head": True}]),
    ],
)
def test_every_state_and_output_is_transformers(
    name: str, outputs: list[dict[str, Any]], tmp_path: Path
) -> None:
    made = subject(name, tmp_path)
    assert made.depth == 4
    assert made.layers() == [{"select_layers": [k]} for k in range(5)]
    assert made.outputs() == outputs
    inputs = made.samples[0].inputs
    states, others = made.reference_features(inputs)
    for ours, theirs in zip(made.states(inputs), states, strict=True):
        torch.testing.assert_close(ours[0], theirs)
    assert others.keys() == set(map(named, outputs))
    for keys in outputs:
        (features,) = run(made.compose(**keys), inputs)
        torch.testing.assert_close(features, others[named(keys)])
    assert not any(module._forward_hooks for module in made.reference.modules())


def test_samples_make_a_batch(tmp_path: Path) -> None:
    made = subject("clip_vision_model", tmp_path)
    together = run(made.compose(), made.batch())
    assert len(together) == len(made.samples) > 1
    for sample, features in zip(made.samples, together, strict=True):
        torch.testing.assert_close(run(made.compose(), sample.inputs)[0], features)


def test_blocks_that_are_not_run_are_a_difference(tmp_path: Path) -> None:
    made = subject("clip_vision_model", tmp_path)
    inputs = made.samples[0].inputs
    del made.reference.encoder.layers[3]
    with pytest.raises(ConformanceError, match="runs 3 blocks for num_hidden_layers 4"):
        made.reference_features(inputs)


def test_keys_are_named_as_a_file_has_them() -> None:
    assert named({}) == "select_layers: null"
    assert named({"select_layers": [1], "head": True}) == "select_layers: [1], head: true"
