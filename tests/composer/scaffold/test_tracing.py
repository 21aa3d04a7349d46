"""Python for what reaches the blocks: it is run on other images, and must make the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vision_composer.scaffold.tracing import Trace


class Embeddings(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)

    def forward(self, pixels: Tensor, mask: Tensor | None = None, scale: float = 1.0) -> tuple[Tensor, int]:
        return self.patches(pixels).flatten(2).transpose(1, 2) * scale, 7


class Rope(nn.Module):
    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        return pixels.sum(), pixels.mean()


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(
        self, states: Tensor, size: Any, rope: Any = None, mask: Any = None, other: Any = None
    ) -> Any:
        return (self.layer(states),)


class Encoder(nn.Module):
    def __init__(self, variant: str = "") -> None:
        super().__init__()
        self.variant = variant
        self.embeddings = Embeddings()
        self.pre_norm = nn.LayerNorm(8)
        self.rope = Rope()
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.norm = nn.LayerNorm(8)
        self.head = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8))

    def forward(self, pixel_values: Tensor) -> Any:
        states = self.pre_norm(self.embeddings(pixel_values, None, scale=2.0)[0])
        if self.variant == "plain code":
            states = states + 1
        rope = self.rope(pixel_values)
        for index, block in enumerate(self.blocks):
            other = index if self.variant == "by block" else None
            (states,) = block(states, pixel_values.shape[2:], rope=rope, other=other)
        last = states if self.variant == "unnormed" else self.norm(states)
        if self.variant == "unnormed":
            self.norm(states[:, 0])
        pooled = last[:, 0] if self.variant == "no head" else self.head(last)
        return SimpleNamespace(last_hidden_state=last, pooler_output=pooled)


def trace(variant: str = "") -> tuple[Encoder, Trace]:
    torch.manual_seed(0)
    model = Encoder(variant)
    return model, Trace.of(model, "blocks", torch.randn(2, 3, 8, 8))


def test_the_stem_and_the_arguments_of_blocks_run_on_other_images() -> None:
    model, first = trace()
    assert first.stem() == "model.pre_norm(model.embeddings(pixel_values, scale=2.0)[0])"
    inputs = first.block_inputs()
    assert inputs == {"size": "pixel_values.shape[2:]", "rope": "model.rope(pixel_values)"}
    pixels = torch.randn(1, 3, 16, 12)
    second = Trace.of(model, "blocks", pixels)
    scope = {"model": model, "pixel_values": pixels}
    assert torch.equal(eval(first.stem() or "", scope), second.states[0])
    assert [float(value) for value in eval(inputs["rope"] or "", scope)] == [
        float(value) for value in second.inputs["rope"]
    ]
    assert [len(first.states), first.states[-1].shape] == [4, (2, 4, 8)]


def test_what_no_module_returns_is_not_known() -> None:
    assert trace("plain code")[1].stem() is None


def test_arguments_that_differ_from_block_to_block_are_not_known() -> None:
    _, found = trace("by block")
    inputs = found.block_inputs()
    assert (inputs["other"], inputs["rope"]) == (None, "model.rope(pixel_values)")
    assert found.seen() == (
        "hidden state 0, a tensor (2, 4, 8), size=(8, 8), rope=(a tensor (), a tensor ()), other=0"
    )


@pytest.mark.parametrize("variant", ["", "unnormed"])
def test_the_norm_and_the_head(variant: str) -> None:
    _, found = trace(variant)
    assert (found.post_norm(), found.head()) == ("norm", "head")  # and not the norm in the head


def test_a_token_that_is_only_taken_has_no_head() -> None:
    assert trace("no head")[1].head() == ""
