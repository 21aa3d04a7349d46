"""The towers that are measured, and inputs for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from vision_composer import ComposedVisionEncoder, compose, plan
from vision_composer.bench.comparison import noise
from vision_composer.encoders import FAMILIES, AnyFamily
from vision_composer.testing import tiny_encoder

from .recorder import Recorder

T = TypeVar("T")


def families() -> list[str]:
    """A model_type of every family: variants of one have the same tower."""
    first: dict[AnyFamily, str] = {}
    for model_type, family in FAMILIES.items():
        first.setdefault(family, model_type)
    return list(first.values())


def tiny(
    model_type: str, *overrides: str, device: torch.device | str = "cpu", **keys: Any
) -> ComposedVisionEncoder:
    """A small encoder with random weights, no two of them alike."""
    torch.manual_seed(0)
    source = {"schema": 1, "encoder": tiny_encoder(model_type), **keys}
    encoder = compose(source, overrides=overrides, device=device)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return encoder


def preset(record: Recorder, name: str) -> ComposedVisionEncoder:
    """A preset's encoder with random weights in bfloat16; on the CPU a small one of the same family."""
    if not record.on_gpu:
        return tiny(plan(name).info.model_type, "weights.dtype=bfloat16")
    overrides = ["weights={source: null, dtype: bfloat16}"]
    return quickly_built(record.device, lambda: compose(name, overrides=overrides, device=record.device))


def quickly_built(device: torch.device, build: Callable[[], T]) -> T:
    """What ``build`` makes, with random numbers drawn on the device if that works: the CPU takes seconds."""
    try:
        with device:
            return build()
    except Exception:  # some models make tensors on the CPU for others on the device
        torch.cuda.empty_cache()
        return build()


def compile_keys(device: torch.device, mode: str, **keys: Any) -> dict[str, Any]:
    """``compile`` of a config; on the CPU without code, which takes long to make."""
    return {"mode": mode, **keys} if device.type == "cuda" else {"backend": "eager", **keys}


def sample_inputs(encoder: ComposedVisionEncoder) -> dict[str, Tensor]:
    """The images with which a family's conformance is checked, on the CPU."""
    torch.manual_seed(0)
    samples = encoder.family.samples(encoder.info, encoder.preprocessor)
    return encoder.preprocessor.collate([sample.inputs for sample in samples])


def different_inputs(encoder: ComposedVisionEncoder, number: int) -> dict[str, Tensor]:
    """A batch that is unlike those of other numbers in its images, and in their sizes where it can be."""
    if encoder.info.ragged:
        images = range(number, number + 1 + number % 6)
        return noise(encoder, [(28 + 28 * (i % 7), 56 + 28 * (3 * i % 5)) for i in images])
    return noise(encoder, [(encoder.info.image_size,) * 2] * (1 + number))


def moved(inputs: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in inputs.items()}
