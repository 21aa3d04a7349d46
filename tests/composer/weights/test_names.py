"""Names of tensors in checkpoints: which are a tower's, what may stand before them, and how they are read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny
from support.checkpoints import features, load, rewrite

from vision_composer import compose
from vision_composer.errors import WeightsError
from vision_composer.weights.names import TensorNames, find_prefix, names_under
from vision_composer.weights.source import Checkpoint

PATCHES = "embeddings.patch_embedding.weight"


def checkpoint(names: Iterable[str]) -> Checkpoint:
    return Checkpoint("it", dict.fromkeys(names, "x.safetensors"), lambda file: None, "safetensors")


@pytest.fixture(scope="module")
def names() -> TensorNames:
    return TensorNames(compose({"schema": 1, "encoder": tiny.ENCODERS["clip_vision_model"]}).model, None)


def test_names_are_those_under_the_prefix() -> None:
    assert names_under(checkpoint(["a.y", "b.x", "a.x", "x.a.x"]), "a.") == ["a.x", "a.y"]


def test_a_tower_has_so_many_tensors_at_most() -> None:
    most = [f"a.{i}" for i in range(4_000)]
    assert len(names_under(checkpoint([*most, "b"]), "a.")) == 4_000
    with pytest.raises(WeightsError, match=r"^it: holds 4,001 tensors under 'a\.', and a tower has 4,000 at"):
        names_under(checkpoint([*most, "a.x"]), "a.")


def test_a_tensor_has_so_long_a_name_at_most() -> None:
    assert names_under(checkpoint(["x" * 200]), "") == ["x" * 200]
    with pytest.raises(WeightsError, match=r"has 200 characters at most, not 'x{80}'\.\.\. \(201 characters"):
        names_under(checkpoint(["a", "x" * 201]), "")


def test_messages_name_three_of_many(names: TensorNames) -> None:
    many = [f"{i:03}" for i in range(100)]
    with pytest.raises(WeightsError, match=r"\(it has '000', '001', '002', \.\.\.\)$"):
        find_prefix(checkpoint(many), names, None)
    with pytest.raises(WeightsError, match=r"under '000\.', '001\.', '002\.', \.\.\.; say"):
        find_prefix(checkpoint(f"{name}.{PATCHES}" for name in many), names, None)
    with pytest.raises(WeightsError, match=r"prefixes with it: '000\.'$"):
        find_prefix(checkpoint([f"000.{PATCHES}"]), names, "001")


@pytest.mark.parametrize(
    ("asked", "found"),
    [("image_tower", "model.image_tower.x."), ("x", None), ("tower", None), ("", None), ("y.x", "y.x.")],
)
def test_a_part_of_a_prefix_tells_it_apart(names: TensorNames, asked: str, found: str | None) -> None:
    held = checkpoint(f"{prefix}{PATCHES}" for prefix in ("model.image_tower.x.", "y.x."))
    if found is None:
        with pytest.raises(WeightsError, match="prefixes with it"):
            find_prefix(held, names, asked)
    else:
        assert find_prefix(held, names, asked) == found
    if asked == "":
        with pytest.raises(WeightsError, match="prefixes with it"):
            find_prefix(checkpoint([f"z.{PATCHES}"]), names, asked)


@pytest.mark.parametrize("weights", [{}, {"prefix": "z"}])
def test_of_many_towers_three_are_named(folder: Path, weights: dict[str, str]) -> None:
    rewrite(folder, lambda tensors: {f"t{i:04}.{PATCHES}": torch.zeros(1) for i in range(2_000)})
    with pytest.raises(WeightsError, match=r"'t0000\.', 't0001\.', 't0002\.', \.\.\.") as raised:
        load(folder, weights=weights)
    assert len(str(raised.value)) < 500 + len(str(folder))


@pytest.mark.parametrize(
    "prefix",
    ["", "vision_model.", "vision_tower.", "model.vision_tower.vision_tower.vision_model.", "visual."],
)
def test_prefixes_are_found(folder: Path, prefix: str) -> None:
    want = features(load(folder))
    rewrite(folder, lambda tensors: {f"{prefix}{name}": tensor for name, tensor in tensors.items()})
    assert torch.equal(features(load(folder)), want)


def test_two_towers_need_a_prefix(folder: Path) -> None:
    want = features(load(folder))
    rewrite(
        folder,
        lambda tensors: (
            {f"image_tower.{name}": tensor for name, tensor in tensors.items()}
            | {f"video_tower.{name}": tensor + 1 for name, tensor in tensors.items()}
        ),
    )
    with pytest.raises(WeightsError, match=r"image_tower\.', 'video_tower\.'.*weights\.prefix"):
        load(folder)
    assert torch.equal(features(load(folder, weights={"prefix": "image_tower"})), want)
    with pytest.raises(WeightsError, match="no tensor audio_tower"):
        load(folder, weights={"prefix": "audio_tower"})


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: torch.cat([t, t[:1]]), lambda t: t.T, torch.flatten]
)
def test_a_tensor_that_is_split_on_loading_is_checked_too(tmp_path: Path, change: Any) -> None:
    encoder = tiny.ENCODERS["dinov2/swiglu"]
    folder = tiny.save(tiny.reference(encoder), tmp_path)
    name = "encoder.layer.0.mlp.weights_in.weight"
    rewrite(folder, lambda tensors: tensors | {name: change(tensors[name]).contiguous()})
    with pytest.raises(WeightsError, match=rf"tensor {name} has shape"):
        compose({"schema": 1, "encoder": encoder, "weights": {"source": str(folder)}})


def test_missing_tensors_have_the_checkpoints_names(tmp_path: Path) -> None:
    encoder = tiny.ENCODERS["dinov2"]
    folder = tiny.save(tiny.reference(encoder), tmp_path)
    name = "encoder.layer.0.attention.attention.key.weight"
    rewrite(folder, lambda tensors: {key: value for key, value in tensors.items() if key != name})
    with pytest.raises(WeightsError, match=rf"tensor {name} is missing"):
        compose({"schema": 1, "encoder": encoder, "weights": {"source": str(folder)}})
