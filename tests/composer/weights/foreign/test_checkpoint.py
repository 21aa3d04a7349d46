"""A checkpoint under our names: each tensor is made of those that its recipe names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.checkpoints import HOST
from torch import Tensor

from vision_composer.errors import WeightsError
from vision_composer.weights.foreign.checkpoint import MadeHeader, TranslatedCheckpoint
from vision_composer.weights.foreign.recipe import Recipe, joined, reshaped
from vision_composer.weights.header import TensorHeader
from vision_composer.weights.staging import Staging

TENSORS = {"a": torch.arange(6.0), "b": torch.ones(2), "half": torch.ones(2).half(), "table": torch.eye(3)}
RECIPES = {
    "same": Recipe(("a",)),
    "both": Recipe(("a", "b"), joined),
    "turned": Recipe(("table",), lambda tensor: tensor.T),
    "part": Recipe(("a",), lambda tensor: tensor[2:4]),
    "shaped": Recipe(("a",), reshaped(4, 4)),
    "mixed": Recipe(("a", "half"), joined),
}


class Original:
    """What the file holds, and which tensors of it were asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def headers(self, names: Iterable[str]) -> dict[str, TensorHeader]:
        self.asked = sorted(names)
        return {
            name: TensorHeader(
                Path("x.safetensors"), tuple(TENSORS[name].shape), str(TENSORS[name].dtype)[6:], 8, 24
            )
            for name in self.asked
        }

    def read(self, name: str, header: TensorHeader, staging: Staging) -> Tensor:
        assert header.shape == tuple(TENSORS[name].shape)
        return TENSORS[name]


def translated() -> TranslatedCheckpoint:
    original: Any = Original()
    return TranslatedCheckpoint("x", {}, lambda name: None, "safetensors", original=original, recipes=RECIPES)


def test_tensors_are_made_of_others_and_no_more_is_asked_for() -> None:
    checkpoint = translated()
    headers = checkpoint.headers(["same", "both", "turned"])
    original: Any = checkpoint.original
    assert original.asked == ["a", "b", "table"]
    assert {name: (header.shape, header.dtype) for name, header in headers.items()} == {
        "same": ((6,), "float32"),
        "both": ((8,), "float32"),
        "turned": ((3, 3), "float32"),
    }
    assert torch.equal(
        checkpoint.read("both", headers["both"], HOST), torch.cat((TENSORS["a"], TENSORS["b"]))
    )
    assert checkpoint.read("turned", headers["turned"], HOST).is_contiguous()
    assert isinstance(headers["both"], MadeHeader)
    assert [part.shape for part in headers["both"].parts] == [(6,), (2,)]


def test_a_part_does_not_keep_the_whole_in_memory() -> None:
    checkpoint = translated()
    part = checkpoint.read("part", checkpoint.headers(["part"])["part"], HOST)
    assert part.tolist() == [2, 3]
    assert part.untyped_storage().nbytes() == part.nbytes


def test_messages_call_a_tensor_as_the_file_does() -> None:
    checkpoint = translated()
    assert [checkpoint.called(name) for name in ("same", "both", "none")] == ["a", "a and b", "none"]
    with pytest.raises(WeightsError, match=r"x\.safetensors: tensor a has shape \(6,\), which does not fit"):
        checkpoint.headers(["shaped"])
    with pytest.raises(WeightsError, match=r"tensor half is float16, and a beside it float32"):
        checkpoint.headers(["mixed"])
