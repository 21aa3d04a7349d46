"""A tensor as numbers to compute with: finite, of a dtype that holds them, and never quantised ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.checkpoints import HOST, POSITIONS, features, load, rewrite
from torch import Tensor

from vision_composer.errors import WeightsError
from vision_composer.weights.header import TensorHeader
from vision_composer.weights.staging import Staging
from vision_composer.weights.tensors import check_readable, is_finite, read_tensor


def test_values_beyond_float16_are_refused(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors | {POSITIONS: tensors[POSITIONS] * 1e8})
    load(folder)
    with pytest.raises(
        WeightsError, match=rf"tensor {POSITIONS} reaches .* more than weights\.dtype torch\.float16"
    ):
        load(folder, weights={"dtype": "float16"})


def test_dtype_is_the_configs_whatever_is_stored(folder: Path) -> None:
    rewrite(folder, lambda tensors: {name: tensor.half() for name, tensor in tensors.items()})
    assert features(load(folder)).dtype is torch.float32
    tower = load(folder, weights={"dtype": "bfloat16"})
    assert {parameter.dtype for parameter in tower.parameters()} == {torch.bfloat16}
    assert features(tower).dtype is torch.bfloat16


class Holding:
    """A checkpoint of one tensor, which it calls by another name than ours."""

    def __init__(self, tensor: Tensor | None = None, **config: Any) -> None:
        self.tensor = tensor
        self.said = config

    def read(self, name: str, header: TensorHeader, staging: Staging) -> Tensor | None:
        return self.tensor

    def called(self, name: str) -> str:
        return f"its.{name}"

    def config(self) -> dict[str, Any]:
        return self.said


def header(dtype: str = "float32") -> TensorHeader:
    return TensorHeader(Path("x.safetensors"), (3,), dtype, 0, 12)


def read(values: Any, stored: torch.dtype, dtype: torch.dtype) -> Tensor:
    checkpoint: Any = Holding(torch.tensor(values, dtype=stored))
    return read_tensor(checkpoint, "a", header(), dtype, HOST)


def test_values_are_cast() -> None:
    for stored in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        found = read([1.5, -2.0, 0.0], stored, torch.bfloat16)
        assert (found.dtype, found.tolist()) == (torch.bfloat16, [1.5, -2.0, 0.0])
    assert read([65504.0], torch.float64, torch.float16).tolist() == [65504.0]
    assert read([1e30], torch.float64, torch.bfloat16).isfinite().all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_value_that_is_not_finite_is_enough(value: float) -> None:
    with pytest.raises(WeightsError, match=r"x\.safetensors: tensor its\.a holds NaN or infinity"):
        read([1.0, value, 2.0], torch.float32, torch.float32)


def test_a_single_number_may_bound_nothing() -> None:
    assert read(float("inf"), torch.float32, torch.float16).item() == float("inf")
    assert read(-1e30, torch.float64, torch.float16).item() == float("-inf")
    with pytest.raises(WeightsError, match="holds NaN"):
        read(float("nan"), torch.float32, torch.float32)


def test_values_that_are_too_large_are_named() -> None:
    with pytest.raises(WeightsError, match=r"its\.a reaches 70000, more than weights\.dtype torch\.float16"):
        read([1.0, -70000.0], torch.float32, torch.float16)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_what_overflows_only_when_it_is_rounded_is_refused(sign: float) -> None:
    assert read([0.0, sign * 65519.99], torch.float64, torch.float16).tolist() == [0.0, sign * 65504.0]
    with pytest.raises(WeightsError, match="reaches 65520"):
        read([0.0, sign * 65520.0], torch.float64, torch.float16)


def test_no_values_are_finite() -> None:
    assert read([], torch.float32, torch.float16).shape == (0,)
    assert is_finite(torch.empty(0, 3))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float8_e4m3fn", "int64", "bool", "complex64", "F4"])
def test_what_is_no_float_is_quantised(dtype: str) -> None:
    shown = dtype if dtype == "F4" else f"torch.{dtype}"
    plain: Any = Holding()
    with pytest.raises(WeightsError, match=rf"tensor its\.a is {shown}; quantised, it is not read: use the"):
        check_readable(plain, "a", header(dtype))
    for known in ("float64", "float32", "float16", "bfloat16"):
        check_readable(plain, "a", header(known))


def test_how_it_was_quantised_is_said_where_the_checkpoint_says_it() -> None:
    checkpoint: Any = Holding(quantization_config={"quant_method": "awq"})
    with pytest.raises(WeightsError, match="quantised by AWQ, it is not read"):
        check_readable(checkpoint, "a", header("int8"))
