"""What counts as a difference between a vision half and the model that it was read from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vision_composer import load_config
from vision_composer.errors import ConformanceError, InputError
from vision_composer.testing import vlm
from vision_composer.testing.vlm import ImageComparison, check_vlm, compare_vlm, embeddings, random_images

EQUAL = ImageComparison(64, 48, 1e-5, 7, 7, 7, 1e-4, {0: 0.0, 3: 1e-4})


@pytest.mark.parametrize(
    "change",
    [
        {"pixels": 2e-5},
        {"planned": 8},
        {"rows": 8},
        {"expected": 6},
        {"difference": 2e-4},
        {"states": {0: 0.0, 3: 2e-4}},
        {"difference": float("inf")},
    ],
    ids=str,
)
def test_any_difference_counts(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(EQUAL, **change)
    assert EQUAL.equal
    assert replace(EQUAL, pixels=None).equal
    assert not wrong.equal
    monkeypatch.setattr(vlm, "tower_of_config_json", lambda folder: folder)
    monkeypatch.setattr(vlm, "load_config", lambda folder: folder)
    monkeypatch.setattr(vlm, "compare_vlm", lambda config, images: [EQUAL, wrong])
    with pytest.raises(ConformanceError) as caught:
        check_vlm("somewhere")
    assert str(caught.value) == str(wrong)


def test_images_are_the_same_every_time() -> None:
    sizes = [(37, 211), (8, 9)]
    first, second = random_images(sizes), random_images(sizes)
    assert [image.size for image in first] == sizes
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one, other)
    assert not np.array_equal(*(np.asarray(image)[:8, :8] for image in first))


def test_random_weights_have_nothing_to_be_compared_with() -> None:
    config = load_config({"schema": 1, "encoder": {"model_type": "clip_vision_model"}})
    with pytest.raises(InputError, match=r"no weights\.source"):
        compare_vlm(config, [])


class Model(nn.Module):
    """A VLM whose image token is 3, and that has so many rows for an image."""

    def __init__(self, rows: int, scatter: Callable[..., Any]) -> None:
        super().__init__()
        self.config = SimpleNamespace(model_type="ours", image_token_id=3)
        self.rows = torch.arange(2.0 * rows).view(rows, 2)
        self.scatter = scatter
        self.prompts: list[list[int]] = []

    def get_decoder(self) -> nn.Module:
        return self

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, pixel_values: Any = None
    ) -> None:
        self.prompts.append(input_ids[0].tolist())
        places = int((input_ids == 3).sum())
        if places != len(self.rows):
            raise ValueError(f"tokens: {places}, features: {len(self.rows)}")
        self.scatter(torch.zeros(1, 9, 2), self.rows)


def scattered(text: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return text.masked_scatter(torch.ones(1, 9, 2, dtype=torch.bool), rows)


def test_what_a_model_puts_among_its_embeddings_is_caught() -> None:
    own = torch.Tensor.masked_scatter
    model = Model(4, scattered)
    inputs = {"pixel_values": torch.ones(1), "unknown": torch.ones(1)}
    assert torch.equal(embeddings(model, inputs, 4), model.rows)
    assert torch.equal(embeddings(model, inputs, 2), model.rows)  # it says how many it has
    assert model.prompts == [[3, 3, 3, 3, 4], [3, 3, 4], [3, 3, 3, 3, 4]]
    assert torch.Tensor.masked_scatter is own
    assert not model._forward_pre_hooks


def test_a_model_that_puts_nothing_there() -> None:
    with pytest.raises(ConformanceError, match="ours puts no image's rows among its input embeddings"):
        embeddings(Model(4, lambda text, rows: None), {}, 4)
