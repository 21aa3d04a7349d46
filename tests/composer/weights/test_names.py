"""Which of a checkpoint's names are a tower's."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from support import tiny

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
    most = [f"a.{i}" for i in range(5_000)]
    assert len(names_under(checkpoint([*most, "b"]), "a.")) == 5_000
    with pytest.raises(WeightsError, match=r"^it: holds 5,001 tensors under 'a\.', and a tower has 5,000 at"):
        names_under(checkpoint([*most, "a.x"]), "a.")


def test_a_tensor_has_so_long_a_name_at_most() -> None:
    assert names_under(checkpoint(["x" * 255]), "") == ["x" * 255]
    with pytest.raises(WeightsError, match=r"has 255 characters at most, not 'x{80}'\.\.\. \(256 characters"):
        names_under(checkpoint(["a", "x" * 256]), "")


def test_messages_name_three_of_many(names: TensorNames) -> None:
    many = [f"{i:03}" for i in range(100)]
    with pytest.raises(WeightsError, match=r"\(it has '000', '001', '002', \.\.\.\)$"):
        find_prefix(checkpoint(many), names, None)
    with pytest.raises(WeightsError, match=r"under '000\.', '001\.', '002\.', \.\.\.; say"):
        find_prefix(checkpoint(f"{name}.{PATCHES}" for name in many), names, None)
    with pytest.raises(WeightsError, match=r"prefixes with it: '000\.'$"):
        find_prefix(checkpoint([f"000.{PATCHES}"]), names, "001")
