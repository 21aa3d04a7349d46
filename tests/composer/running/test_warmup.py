"""Warmup runs what is to come, and refuses compiled code that computes something else."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support import tiny

from vision_composer import compose
from vision_composer.errors import CompiledDifferenceError, InputError
from vision_composer.running.warmup import largest_difference, warm_up

ENCODER = tiny.ENCODERS["siglip_vision_model"]
PACKED = tiny.PACKED["pixtral"] | {"num_hidden_layers": 2}


@pytest.fixture(autouse=True)
def _fresh_dynamo() -> None:
    torch._dynamo.reset()


@pytest.fixture
def wrong_backend() -> Any:
    """A backend of torch.compile that computes a little more than it was given."""

    def backend(graph: torch.fx.GraphModule, example_inputs: Any) -> Any:
        def run(*inputs: Any) -> Any:
            return tuple(
                out * 1.01 if torch.is_tensor(out) and out.is_floating_point() else out
                for out in graph(*inputs)
            )

        return run

    torch._dynamo.register_backend(backend, name="one_percent_more")
    yield "one_percent_more"
    torch._dynamo.backends.registry._BACKENDS.pop("one_percent_more", None)
    torch._dynamo.backends.registry._COMPILER_FNS.pop("one_percent_more", None)


@pytest.mark.parametrize("scope", ["blocks", pytest.param("tower", marks=pytest.mark.slow)])
@pytest.mark.parametrize("encoder", [ENCODER, PACKED], ids=["dense", "packed"])
def test_compiled_code_that_computes_something_else_is_an_error(
    wrong_backend: str, encoder: dict[str, Any], scope: str
) -> None:
    config = {"schema": 1, "encoder": encoder, "compile": {"backend": wrong_backend, "scope": scope}}
    tower = compose(config)
    with pytest.raises(CompiledDifferenceError, match=r"40x32.*differ by 0\.0"):
        tower.warmup([(40, 32)])


@pytest.mark.parametrize(
    "encoder", [ENCODER, pytest.param(PACKED, marks=pytest.mark.slow)], ids=["dense", "packed"]
)
def test_warmup_compiles_what_is_to_come(encoder: dict[str, Any]) -> None:
    tower = compose({"schema": 1, "encoder": encoder, "compile": {"backend": "aot_eager"}}).train()
    assert tower.warmup([2, (40, 32), [(32, 32), (64, 32)]]) <= 1e-5
    assert tower.training
    compiled = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert compiled > 0
    tower.eval()
    with torch.no_grad():
        tower(**tower.preprocess([torch.zeros(48, 32, 3, dtype=torch.uint8).numpy()] * 3))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == compiled


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_a_tower_that_is_not_compiled_differs_from_nothing(dtype: torch.dtype) -> None:
    assert compose({"schema": 1, "encoder": ENCODER}).to(dtype).warmup([1, 2]) == 0.0


@pytest.mark.parametrize("batch", [0, -1, True, "32x32", (0, 32), [], [(32,)], [(32, 32, 32)], 1.5, None])
def test_other_than_sizes_is_refused(batch: Any) -> None:
    with pytest.raises(InputError, match="warmup takes batches"):
        compose({"schema": 1, "encoder": ENCODER}).warmup([batch])


def test_differences_are_relative_to_a_token() -> None:
    expected = torch.ones(1, 3, 4)
    features = expected.clone()
    features[0, 1] = 0  # one token of three is lost
    assert largest_difference(features, expected) == 1.0
    assert largest_difference((expected, expected * 1.5), (expected, expected)) == 0.5
    assert largest_difference((), ()) == 0.0
    nan = expected * float("nan")
    for features in ((nan, expected), (expected, nan)):
        assert math.isnan(largest_difference(features, (expected, expected)))


def differences(*values: float) -> float:
    """What warm-up makes of compiled features that differ by so much, a batch each."""
    one = torch.ones(1, 1, 1)
    features = iter([one * (1 + sign * value) for value in values for sign in (1, 0)])
    return warm_up(
        lambda inputs: next(features), lambda images: {}, [1] * len(values), image_size=8, dtype=torch.float32
    )


def test_the_largest_difference_of_all_batches_counts() -> None:
    assert differences(1e-4, 5e-4, 2e-4) == pytest.approx(5e-4, rel=1e-2)


def test_features_that_are_not_numbers_are_an_error() -> None:
    for values in ([2e-3], [float("nan")], [0.0, float("inf")]):
        with pytest.raises(CompiledDifferenceError):
            differences(*values)


def test_an_error_is_held_against_its_own_token() -> None:
    expected = torch.tensor([[[100.0, 0.0], [1.0, 0.0]]])
    features = expected + torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    assert largest_difference(features, expected) == pytest.approx(0.01)


def test_images_have_the_sizes_that_are_expected() -> None:
    made: list[tuple[int, ...]] = []

    def preprocess(images: Any) -> dict[str, torch.Tensor]:
        made.extend(image.shape for image in images)
        return {}

    batches = [2, (40, 24), [(8, 16), (32, 24)]]
    warm_up(lambda inputs: torch.ones(1), preprocess, batches, image_size=16, dtype=torch.float32)
    assert made == [(16, 16, 3), (16, 16, 3), (24, 40, 3), (16, 8, 3), (24, 32, 3)]
