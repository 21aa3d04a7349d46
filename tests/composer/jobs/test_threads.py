"""The threads that a forward gets follow from the encoder's plan."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import tiny

from vision_composer import plan
from vision_composer.jobs.threads import threads_of

GENERIC = {"model_type": "vivit", "prefix_tokens": 1}


@pytest.fixture(autouse=True)
def _several_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("encoder", "threads"),
    [
        ("tiny-digits", 1),
        ("clip-vit-base-patch32", 3),
        ({"schema": 1, "encoder": tiny.ALL["qwen2_5_vl_vision"]}, 3),  # its images may be large
        ({"schema": 1, "encoder": GENERIC}, 3),  # nobody knows
    ],
    ids=["small", "large", "of any size", "generic"],
)
def test_small_encoders_get_one_thread(encoder: str | dict[str, Any], threads: int) -> None:
    with threads_of(plan(encoder)):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 3


def test_an_error_leaves_the_number_as_it_was() -> None:
    def fail() -> None:
        with threads_of(plan("tiny-digits")):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.get_num_threads() == 3
